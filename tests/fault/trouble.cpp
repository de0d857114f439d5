#include "trouble.hpp"

#include <atomic>
#include <exception>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "eventually.hpp"
#include "raw_client.hpp"

namespace redlatch::test {
namespace {

using Words = std::vector<std::string>;

/// Throws where the answer is an error.
RawReply ask(RawClient& client, const Words& words) {
  RawReply reply = client.command(words);
  if (reply.error) throw std::runtime_error(reply.text);
  return reply;
}
RawReply ask(const std::string& socket, const Words& words) {
  RawClient client(socket);
  return ask(client, words);
}

/// A setting of the server under which it refuses commands with such an error.
std::function<bool()> refuse(const std::string& socket, const std::string& error, const Words& set,
                             const Words& reset) {
  RawClient client(socket);
  const std::int64_t before = client.errors(error);
  ask(client, set);
  return [=] {
    RawClient again(socket);
    const bool landed = again.errors(error) > before;
    ask(again, reset);
    return landed;
  };
}

std::function<bool()> sleep(const std::string& socket, std::chrono::milliseconds time) {
  std::ostringstream seconds;
  seconds << std::chrono::duration<double>(time).count();
  ask(socket, {"DEBUG", "SLEEP", seconds.str()});
  return [] { return true; };
}

/// A script that does not end by itself, on a connection with a thread of its own. A pause of the
/// server may delay its beginning.
std::function<bool()> keep_busy(const std::string& socket) {
  constexpr std::chrono::seconds patience{1};
  const auto is_over = std::make_shared<std::atomic<bool>>(false);
  auto script = std::make_shared<std::jthread>([is_over, client = RawClient(socket)]() mutable {
    try {
      client.command({"EVAL", "while true do end", "0"});
    } catch (const std::exception&) {
      // The server was killed.
    }
    *is_over = true;
  });
  const bool landed = eventually(
      [&] { return RawClient(socket).command({"PING"}).text.starts_with("BUSY"); }, patience);
  return [socket, landed, is_over, script = std::move(script)] {
    RawClient client(socket);
    const bool ended = eventually([&] {
      return client.command({"SCRIPT", "KILL"}).text == "OK" || *is_over;
    });
    return ended && landed;
  };
}

std::function<bool()> pause(const std::string& socket, std::chrono::milliseconds time) {
  constexpr std::chrono::seconds reserve{1};  // so that it lasts until it is looked at
  ask(socket, {"CLIENT", "PAUSE", std::to_string((time + reserve).count()), "WRITE"});
  return [=] {
    RawClient client(socket);
    const bool landed = client.info("clients", "blocked_clients:") > 0;
    ask(client, {"CLIENT", "UNPAUSE"});
    return landed;
  };
}

bool kill_clients(const std::string& socket) {
  RawClient client(socket);
  const bool landed = !client.clients(name_of_workers).empty();
  ask(client, {"CLIENT", "KILL", "TYPE", "normal"});
  ask(client, {"CLIENT", "KILL", "TYPE", "pubsub"});
  return landed;
}

bool flush_scripts(const std::string& socket) {
  RawClient client(socket);
  const bool landed = client.info("memory", "number_of_cached_scripts:") > 0;
  ask(client, {"SCRIPT", "FLUSH"});
  return landed;
}

bool flush_all(const std::string& socket) {
  RawClient client(socket);
  client.command({"MULTI"});
  client.command({"DBSIZE"});
  client.command({"FLUSHALL"});
  const RawReply replies = ask(client, {"EXEC"});
  return replies.elements.at(0).integer > 0 && replies.elements.at(1).text == "OK";
}

}  // namespace

std::optional<Trouble> command_trouble(Fault fault, const std::string& socket,
                                       const std::string& key, std::chrono::milliseconds time) {
  Trouble trouble{.incident = {.fault = fault, .began = HistoryClock::now()}};
  const auto at_once = [](bool landed) { return [=] { return landed; }; };
  switch (fault) {
    case Fault::server_asleep:
      trouble.end = sleep(socket, time);
      break;
    case Fault::server_busy:
      trouble.end = keep_busy(socket);
      break;
    case Fault::server_paused:
      trouble.end = pause(socket, time);
      break;
    case Fault::server_read_only:
      trouble.end =
          refuse(socket, "READONLY", {"REPLICAOF", "127.0.0.1", "1"}, {"REPLICAOF", "NO", "ONE"});
      break;
    case Fault::server_full:
      trouble.end = refuse(socket, "OOM", {"CONFIG", "SET", "maxmemory", "1"},
                           {"CONFIG", "SET", "maxmemory", "0"});
      break;
    case Fault::clients_killed:
      trouble.end = at_once(kill_clients(socket));
      break;
    case Fault::scripts_flushed:
      trouble.end = at_once(flush_scripts(socket));
      break;
    case Fault::key_deleted:
      trouble.end = at_once(ask(socket, {"DEL", key}).integer > 0);
      break;
    case Fault::all_flushed:
      trouble.end = at_once(flush_all(socket));
      break;
    default:
      return std::nullopt;
  }
  trouble.incident.lossy_until = HistoryClock::now();
  return trouble;
}

}  // namespace redlatch::test
