#include "campaign.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <iostream>
#include <ostream>

#include <redlatch/protocol/exclusive.hpp>

#include "eventually.hpp"
#include "stride.hpp"

namespace redlatch::test {
namespace {

constexpr int tries = 30;
constexpr std::size_t too_many = 10;

/// Of a script that is named by its hash or by its text.
std::string_view sha1_of(std::string_view script) {
  for (const protocol::Script* one : {&protocol::release_script, &protocol::extend_script}) {
    if (script == one->text) return one->sha1();
  }
  return script;
}

/// Takes a line and its end off the front; empty when there is no whole line.
std::string_view line_of(std::string_view& text) {
  const std::size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return text = {};
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return line;
}

std::size_t number_in(std::string_view header) {
  std::size_t number = 0;
  if (!header.empty()) {
    std::from_chars(header.data() + 1, header.data() + header.size(), number);
  }
  return number;
}

}  // namespace

void PrintTo(const Campaign& campaign, std::ostream* out) { *out << campaign.name; }

void Tally::violation(const std::string& what) {
  ++violations;
  ADD_FAILURE() << what;
}

Lane::Lane(const RedisServer& its_server, const Campaign& its_campaign, Tally& its_tally,
           char its_name)
    : name(its_name), campaign(its_campaign), server(its_server), tally(its_tally) {}

std::size_t Lane::measure() {
  where_ = "without a fault: ";
  for (int i = 0; !survive({campaign.direction, never, campaign.manner}); ++i) {
    if (i < tries) continue;
    violation("too slow in " + std::to_string(tries) + " tries");
    return 0;
  }
  const Proxy::Traffic traffic = proxy.traffic();
  return campaign.direction == Proxy::Direction::request ? traffic.said.size()
                                                         : traffic.heard.size();
}

void Lane::cut_at(std::size_t byte) {
  where_ = "cut after byte " + std::to_string(byte) + ": ";
  for (int i = 0; i < tries; ++i) {
    if (survive({campaign.direction, byte, campaign.manner})) return;
    ++tally.repeated;
  }
  violation("did not land there in " + std::to_string(tries) + " tries");
}

std::unique_ptr<Client> Lane::connected() {
  auto client = std::make_unique<Client>(proxy.url(),
                                         ClientOptions{.connect_timeout = std::chrono::seconds(10),
                                                       .command_timeout = command_timeout,
                                                       .connections = 1,
                                                       .scripting = campaign.scripting,
                                                       .on_event = [this](const Event& event) {
                                                         // No lock is taken here that is not
                                                         // free.
                                                         if (event.kind == EventKind::lost)
                                                           violation(event.key + " was lost");
                                                       }});
  const bool up = eventually([&] {
    try {
      client->ping();
      return true;
    } catch (const Error&) {
      return false;
    }
  });
  if (!up) violation("no connection");
  return client;
}

void Lane::violation(const std::string& what) { tally.violation(where_ + what); }

void Lane::check(const Error& error, const std::string& key, RawClient& raw) {
  if (error.code() != Errc::unreachable && error.code() != Errc::timed_out) {
    violation(std::string("another error: ") + error.what());
  }
  if (error.in_doubt()) {
    ++tally.in_doubt;
  } else if (raw.exists(key)) {
    violation("acted on " + key + " without a doubt");
  }
}

void Lane::take_over(const std::string& key) {
  const bool taken = eventually([&] {
    return stranger.command({"SET", key, "stranger", "NX", "PX", "60000"}).text == "OK";
  });
  if (!taken) violation(key + " is still held, by " + stranger.get(key));
}

void Lane::check_works(Client& client, const std::string& key) {
  if (is_taken_by(client, key)) violation(key + " is the stranger's");
  const std::string other = key + "+";
  if (!eventually([&] { return is_taken_by(client, other); })) {
    violation(other + " is held, and no lock holds it");
  }
}

/// And released again. What happened before may cost the first attempts.
bool Lane::is_taken_by(Client& client, const std::string& key) {
  bool taken = false;
  const bool answered = eventually([&] {
    try {
      Lock lock(client, key, std::try_to_lock, long_lease);
      taken = lock.owns_lock();
      if (taken && lock.unlock() == Unlock::lost) violation(key + " was lost");
      return true;
    } catch (const Error&) {
      return false;
    }
  });
  if (!answered) violation("the client does not work again for " + key);
  return taken;
}

void Lane::give_back(const std::string& key) {
  if (stranger.get(key) != "stranger") violation(key + " was taken from the stranger");
  stranger.command({"DEL", key});
}

std::size_t cut_everywhere(const std::vector<std::unique_ptr<Lane>>& lanes, Tally& tally) {
  const std::size_t bytes = lanes.front()->measure();
  const std::size_t step = stride(bytes);
  const std::size_t positions = (bytes + step - 1) / step;
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> threads;
  for (const std::unique_ptr<Lane>& lane : lanes) {
    threads.emplace_back([&] {
      try {
        for (std::size_t i = next++; i < positions && tally.violations < too_many; i = next++) {
          lane->cut_at(i * step);
        }
      } catch (const std::exception& error) {
        tally.violation(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::cout << "positions cut: " << positions << ", acquisitions in doubt: " << tally.in_doubt
            << ", violations: " << tally.violations << " (tried again: " << tally.repeated << ")\n";
  EXPECT_GT(positions, 5U);
  EXPECT_GT(tally.in_doubt, 0U);
  return positions;
}

void check_nothing_is_left(const RedisServer& server, Tally& tally) {
  RawClient raw(server.socket());
  if (eventually([&] { return raw.command({"DBSIZE"}).integer == 0; })) return;
  for (const RawReply& key : raw.command({"KEYS", "*"}).elements) {
    tally.violation(key.text + " is left behind");
  }
}

std::vector<Command> commands_in(std::string_view said) {
  std::vector<Command> commands;
  while (!said.empty()) {
    std::vector<std::string_view> words;
    for (std::size_t count = number_in(line_of(said)); count > 0 && !said.empty(); --count) {
      const std::size_t size = number_in(line_of(said));
      words.push_back(said.substr(0, size));
      said.remove_prefix(std::min(size + 2, said.size()));
    }
    if (words.empty()) break;
    const bool is_script = words.front() == "EVALSHA" || words.front() == "EVAL";
    const std::size_t key_at = is_script ? 3 : 1;
    commands.push_back(
        {.name = std::string(words.front()),
         .key = std::string(words.size() > key_at ? words[key_at] : ""),
         .sha1 = std::string(is_script && words.size() > 1 ? sha1_of(words[1]) : "")});
  }
  return commands;
}

std::size_t replies_in(std::string_view heard) {
  return static_cast<std::size_t>(std::count(heard.begin(), heard.end(), '\n'));
}

}  // namespace redlatch::test
