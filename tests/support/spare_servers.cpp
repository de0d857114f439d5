#include "spare_servers.hpp"

#include <algorithm>
#include <exception>
#include <sstream>
#include <string_view>
#include <utility>

#include "raw_client.hpp"

namespace redlatch::test {
namespace {

/// Nobody else asks for it. If it is not among the statistics, a test has begun these anew, and
/// what they have no more cannot be known.
constexpr std::string_view mark = "lastsave";

/// Commands that leave nothing but keys, scripts and the state of a connection, and the mark.
constexpr std::string_view harmless =
    " append asking auth client|caching client|getname client|id client|kill client|list"
    " client|setinfo client|setname client|tracking cluster|info cluster|keyslot cluster|nodes"
    " cluster|shards cluster|slots command command|info config|get config|resetstat dbsize del"
    " discard dump echo eval evalsha exec exists expire flushall flushdb get getdel getrange"
    " hdel hello hget hincrby hlen hset incr info keys lastsave lindex llen lpop lpos lpush"
    " lrange lrem lset monitor multi persist pexpire pexpireat ping psetex psubscribe pttl"
    " publish pubsub|channels pubsub|numsub pubsub|shardnumsub punsubscribe quit readonly role"
    " rpush script|exists script|flush script|load select set setex setnx spublish ssubscribe"
    " strlen subscribe sunsubscribe time ttl type unlink unsubscribe unwatch wait watch zadd"
    " zcard zcount zrange zrangebyscore zrem zremrangebyscore zscore ";

/// The commands that INFO knows of: "cmdstat_config|set:calls=1,usec=...".
std::vector<std::string> commands_in(const std::string& statistics) {
  constexpr std::string_view begins = "cmdstat_";
  std::vector<std::string> commands;
  std::istringstream lines(statistics);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(begins)) continue;
    commands.push_back(line.substr(begins.size(), line.find(':') - begins.size()));
  }
  return commands;
}

bool can_be_undone(const std::vector<std::string>& commands) {
  return std::ranges::find(commands, mark) != commands.end() &&
         std::ranges::all_of(commands, [](const std::string& command) {
           return harmless.find(' ' + command + ' ') != std::string_view::npos;
         });
}

/// But for a Sentinel's.
void end_connections(RawClient& server) {
  std::istringstream lines(server.command({"CLIENT", "LIST"}).text);
  const std::string own = "id=" + std::to_string(server.command({"CLIENT", "ID"}).integer) + " ";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(own) || line.find(" name=sentinel-") != std::string::npos) continue;
    server.command({"CLIENT", "KILL", "ID", line.substr(3, line.find(' ') - 3)});
  }
}

bool becomes_like_new(const ServerParts& parts) {
  if (!parts.process.runs() || (parts.sentinel && !parts.sentinel->runs())) return false;
  RawClient server(parts.socket());
  if (!can_be_undone(commands_in(server.command({"INFO", "commandstats"}).text))) return false;
  end_connections(server);
  if (server.command({"FLUSHALL"}).text != "OK") return false;
  if (server.command({"SCRIPT", "FLUSH"}).text != "OK") return false;
  SpareServers::begin(parts);
  return true;
}

}  // namespace

SpareServers& SpareServers::of_this_process() {
  static SpareServers all;
  return all;
}

SpareServers::~SpareServers() {
  if (!is_of_another_process()) return;
  for (std::unique_ptr<ServerParts>& one : servers_) static_cast<void>(one.release());
}

bool SpareServers::is_of_another_process() const { return ::getpid() != owner_; }

std::unique_ptr<ServerParts> SpareServers::take(const Kind& kind) {
  if (is_of_another_process()) return nullptr;
  const std::lock_guard guard(mutex_);
  const auto fits = [&](const std::unique_ptr<ServerParts>& one) {
    return kind == Kind{.tls = one->tls_port.has_value(),
                        .sentinel = one->sentinel != nullptr,
                        .cluster = one->cluster != nullptr} &&
           one->process.runs();
  };
  const auto found = std::ranges::find_if(servers_, fits);
  if (found == servers_.end()) return nullptr;
  std::unique_ptr<ServerParts> server = std::move(*found);
  servers_.erase(found);
  return server;
}

void SpareServers::give(std::unique_ptr<ServerParts> server) noexcept {
  if (is_of_another_process()) return;
  try {
    if (!becomes_like_new(*server)) return;
    const std::lock_guard guard(mutex_);
    servers_.push_back(std::move(server));
  } catch (const std::exception&) {
    // It ends.
  }
}

void SpareServers::begin(const ServerParts& parts) {
  RawClient server(parts.socket());
  server.command({"CONFIG", "RESETSTAT"});
  server.command({"LASTSAVE"});
}

}  // namespace redlatch::test
