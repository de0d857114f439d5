#include "sentinel_trio.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "certificates.hpp"
#include "eventually.hpp"

namespace redlatch::test {
namespace {

void log_in(RawClient& client, const TrioOptions::Login& login) {
  if (login.password.empty()) return;
  const std::string user = login.user.empty() ? "default" : login.user;
  if (const RawReply reply = client.command({"AUTH", user, login.password}); reply.error) {
    throw std::runtime_error(reply.text);
  }
}

/// What INFO or a table of SENTINEL says of `name`.
std::string field(const RawReply& table, const std::string& name) {
  for (std::size_t i = 0; i + 1 < table.elements.size(); i += 2) {
    if (table.elements[i].text == name) return table.elements[i + 1].text;
  }
  return {};
}

std::string id_of(std::size_t sentinel, std::uint16_t port) {
  std::string id = std::to_string(sentinel) + std::to_string(port);
  id.insert(0, 40 - id.size(), 'a');
  return id;
}

}  // namespace

bool are_in_step(RawClient primary, std::size_t replicas, const std::string& key) {
  primary.command({"SET", key, "", "PX", "1"});
  const RawReply got_it = primary.command({"WAIT", std::to_string(replicas), "100"});
  return got_it.integer >= static_cast<std::int64_t>(replicas);
}

SentinelTrio::SentinelTrio(TrioOptions options) : options_(std::move(options)) {
  for (auto& server : servers_) {
    server = options_.tls ? std::make_unique<RedisServer>(RedisServer::WithTls{}, server_settings())
                          : std::make_unique<RedisServer>(server_settings());
  }
  for (std::size_t i = 1; i < size; ++i) {
    at_server(i).command({"REPLICAOF", options_.host, std::to_string(port(0))});
  }
  for (auto& sentinel : sentinels_) sentinel = std::make_unique<SentinelServer>(options_.tls);
  for (std::size_t i = 0; i < size; ++i) {
    sentinels_[i]->configure(configuration_of(i));
    sentinels_[i]->start();
  }
  if (becomes_healthy()) return;
  throw std::runtime_error("the sentinels do not find each other:\n" + logs());
}

std::vector<std::string> SentinelTrio::server_settings() const {
  std::vector<std::string> settings{"--repl-diskless-sync-delay", "0"};
  const auto add = [&](std::vector<std::string> words) {
    settings.insert(settings.end(), words.begin(), words.end());
  };
  if (options_.tls) add({"--tls-replication", "yes"});
  if (options_.host != "127.0.0.1") add({"--replica-announce-ip", options_.host});
  const auto& [user, password] = options_.servers;
  if (!password.empty()) add({"--masterauth", password});
  if (!password.empty() && user.empty()) add({"--requirepass", password});
  if (!password.empty() && !user.empty()) {
    add({"--masteruser", user, "--user", "default", "off"});
    add({"--user", user, "on", ">" + password, "~*", "&*", "+@all"});
  }
  return settings;
}

/// It knows of everything from the beginning, instead of learning it from what the others publish
/// every two seconds.
std::vector<std::string> SentinelTrio::configuration_of(std::size_t sentinel) const {
  const std::string& name = options_.service;
  const auto address = [&](std::uint16_t its_port) {
    return options_.host + " " + std::to_string(its_port);
  };
  const auto id = [&](std::size_t number) { return id_of(number, sentinels_[number]->port()); };
  std::vector<std::string> lines;
  if (options_.host != "127.0.0.1") {
    lines = {"sentinel resolve-hostnames yes", "sentinel announce-hostnames yes",
             "sentinel announce-ip " + options_.host};
  }
  lines.push_back("sentinel myid " + id(sentinel));
  lines.push_back("sentinel monitor " + name + " " + address(port(0)) + " 2");
  // If all three begin a failover at the same moment, each votes for itself, and nothing happens
  // for twice the failover time-out. The last one leaves it to the others.
  const auto down_after = sentinel + 1 < size ? options_.down_after : options_.down_after * 3 / 2;
  lines.push_back("sentinel down-after-milliseconds " + name + " " +
                  std::to_string(down_after.count()));
  lines.push_back("sentinel failover-timeout " + name + " " +
                  std::to_string(options_.failover_timeout.count()));
  lines.push_back("sentinel parallel-syncs " + name + " " +
                  std::to_string(options_.parallel_syncs));
  for (std::size_t i = 1; i < size; ++i) {
    lines.push_back("sentinel known-replica " + name + " " + address(port(i)));
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (i == sentinel) continue;
    lines.push_back("sentinel known-sentinel " + name + " " + address(sentinels_[i]->port()) + " " +
                    id(i));
  }
  if (const auto& [user, password] = options_.servers; !password.empty()) {
    if (!user.empty()) lines.push_back("sentinel auth-user " + name + " " + user);
    lines.push_back("sentinel auth-pass " + name + " " + password);
  }
  if (const auto& [user, password] = options_.sentinels; !password.empty()) {
    if (user.empty()) {
      lines.push_back("requirepass " + password);
    } else {
      lines.push_back("user default off");
      lines.push_back("user " + user + " on >" + password + " ~* &* +@all");
      lines.push_back("sentinel sentinel-user " + user);
    }
    lines.push_back("sentinel sentinel-pass " + password);
  }
  return lines;
}

/// During a failover, replicas are looked at (INFO) once a second, whatever is set here. So long a
/// sentinel takes a promoted replica for a primary by mistake, which it would make a replica again
/// after four periods of publishing; and no replica is promoted whose last INFO is older than five
/// periods of pings. Both must last longer. A sentinel that the machine has kept from running for
/// two seconds does nothing for the TILT-PERIOD, which is 30 s by default.
void SentinelTrio::hurry(std::size_t sentinel) {
  at_sentinel(sentinel).command({"SENTINEL", "DEBUG", "INFO-PERIOD", "100", "PING-PERIOD", "400",
                                 "ASK-PERIOD", "100", "PUBLISH-PERIOD", "500",
                                 "MIN-LINK-RECONNECT-PERIOD", "100", "ELECTION-TIMEOUT", "1000",
                                 "TILT-PERIOD", "1000"});
}

std::string SentinelTrio::url() const {
  std::string url = options_.tls ? "rediss-sentinel://" : "redis-sentinel://";
  const auto& [user, password] = options_.servers;
  if (!password.empty()) url += user + ":" + password + "@";
  for (std::size_t i = 0; i < size; ++i) {
    url += (i == 0 ? "" : ",") + options_.host + ":" + std::to_string(sentinels_[i]->port());
  }
  return url + "#" + options_.service;
}

std::uint16_t SentinelTrio::port(std::size_t number) const {
  return options_.tls ? servers_[number]->tls_port() : servers_[number]->port();
}

RawClient SentinelTrio::at_server(std::size_t number) {
  if (!servers_[number]->runs()) throw std::runtime_error("the server does not run");
  RawClient client(servers_[number]->socket());
  log_in(client, options_.servers);
  return client;
}

RawClient SentinelTrio::at_sentinel(std::size_t number) {
  if (!sentinels_[number]->runs()) throw std::runtime_error("the sentinel does not run");
  RawClient client(sentinels_[number]->socket());
  log_in(client, options_.sentinels);
  return client;
}

std::optional<std::size_t> SentinelTrio::primary() {
  return answered([&] { return agreed_primary(); });
}

std::optional<std::size_t> SentinelTrio::agreed_primary() {
  std::string agreed;
  for (std::size_t i = 0; i < size; ++i) {
    if (!sentinels_[i]->runs()) continue;
    const RawReply address =
        at_sentinel(i).command({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", options_.service});
    if (address.elements.size() != 2) return std::nullopt;
    if (!agreed.empty() && agreed != address.elements[1].text) return std::nullopt;
    agreed = address.elements[1].text;
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (agreed != std::to_string(port(i))) continue;
    if (!servers_[i]->runs()) return std::nullopt;
    const RawReply role = at_server(i).command({"ROLE"});
    return !role.elements.empty() && role.elements[0].text == "master" ? std::optional(i)
                                                                       : std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::size_t> SentinelTrio::switched_from(std::size_t old) {
  return switched_from(old, "o_down");
}

std::optional<std::size_t> SentinelTrio::fail_over_from(std::size_t old) {
  return switched_from(old, "master");
}

/// Orders a failover whenever all sentinels have the flag for the old primary, and no failover is
/// under way.
std::optional<std::size_t> SentinelTrio::switched_from(std::size_t old, std::string_view flag) {
  std::optional<std::size_t> now;
  const auto is_switched = [&] {
    now = primary();
    if (now && now != old) return true;
    answered([&] {
      if (!all_await_failover(old, flag)) return false;
      order_failover();
      return true;
    });
    return false;
  };
  return eventually(is_switched, default_bound) ? now : std::nullopt;
}

/// A sentinel begins a failover in the moment in which it finds the primary down (o_down). If it
/// has not begun one then, it has given up or voted for another sentinel, and begins none for twice
/// the failover time-out.
bool SentinelTrio::all_await_failover(std::size_t old, std::string_view flag) {
  for (std::size_t i = 0; i < size; ++i) {
    if (!sentinels_[i]->runs()) continue;
    const RawReply table = at_sentinel(i).command({"SENTINEL", "MASTER", options_.service});
    const std::string flags = field(table, "flags");
    if (field(table, "port") != std::to_string(port(old)) ||
        flags.find(flag) == std::string::npos ||
        flags.find("failover_in_progress") != std::string::npos) {
      return false;
    }
  }
  return true;
}

/// A refusal, as there is no good replica at the moment, makes no difference.
void SentinelTrio::order_failover() {
  for (std::size_t i = 0; i < size; ++i) {
    if (!sentinels_[i]->runs()) continue;
    at_sentinel(i).command({"SENTINEL", "FAILOVER", options_.service});
    return;
  }
}

std::string SentinelTrio::logs() const {
  std::string logs;
  for (const auto& sentinel : sentinels_) logs += sentinel->log() + '\n';
  return logs;
}

bool SentinelTrio::becomes_healthy(std::chrono::milliseconds bound) {
  if (options_.eager) {
    for (std::size_t i = 0; i < size; ++i) hurry(i);
  }
  return eventually([&] { return answered([&] { return is_healthy(); }); }, bound);
}

bool SentinelTrio::is_healthy() {
  const std::optional<std::size_t> leader = primary();
  if (!leader) return false;
  for (std::size_t i = 0; i < size; ++i) {
    if (!server_is_healthy(i, *leader) || !sentinel_is_healthy(i)) return false;
  }
  return are_in_step(at_server(*leader), size - 1);
}

bool SentinelTrio::server_is_healthy(std::size_t number, std::size_t primary) {
  if (!servers_[number]->runs()) return false;
  const std::vector<RawReply> role = at_server(number).command({"ROLE"}).elements;
  if (number == primary) {
    return role.size() == 3 && role[0].text == "master" && role[2].elements.size() == size - 1;
  }
  return role.size() == 5 && role[0].text == "slave" && role[2].integer == port(primary) &&
         role[3].text == "connected";
}

bool SentinelTrio::sentinel_is_healthy(std::size_t number) {
  if (!sentinels_[number]->runs()) return false;
  RawClient sentinel = at_sentinel(number);
  const std::string quorum = sentinel.command({"SENTINEL", "CKQUORUM", options_.service}).text;
  if (!quorum.starts_with("OK 3")) return false;
  const RawReply primary = sentinel.command({"SENTINEL", "MASTER", options_.service});
  if (field(primary, "flags") != "master") return false;
  const auto replicas = sentinel.command({"SENTINEL", "REPLICAS", options_.service}).elements;
  return replicas.size() == size - 1 && std::ranges::all_of(replicas, [](const RawReply& one) {
           return field(one, "flags") == "slave" && field(one, "master-link-status") == "ok";
         });
}

}  // namespace redlatch::test
