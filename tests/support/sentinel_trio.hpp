#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raw_client.hpp"
#include "redis_server.hpp"
#include "sentinel_server.hpp"

namespace redlatch::test {

/// Whether so many replicas have what is written to their primary now. A replica that has just had
/// all of its data is sent nothing more until it has answered for the first time, up to a second
/// later, although ROLE counts it. Writes `key`, for a millisecond.
bool are_in_step(RawClient primary, std::size_t replicas, const std::string& key = "in step?");

/// How a SentinelTrio is set up.
struct TrioOptions {
  /// Without a user, the password is that of the default user; without a password, none is asked
  /// for.
  struct Login {
    std::string user{};
    std::string password{};
  };

  std::string service = "orders";
  Login servers{};
  Login sentinels{};
  /// For everything: clients, replication, and what sentinels say to servers and to each other.
  bool tls = false;
  /// "localhost": servers and sentinels are called by that name, not by address.
  std::string host = "127.0.0.1";
  std::chrono::milliseconds down_after{500};
  std::chrono::milliseconds failover_timeout{4000};
  int parallel_syncs = 2;
  /// The sentinels look and talk more often than every 1, 2 and 10 s, as far as the server can be
  /// told to (SENTINEL DEBUG, from Redis 7.0 on).
  bool eager = true;
};

/// One primary, two replicas and three sentinels, with ports and directories of their own, which
/// end with the object. Any of them may be killed, started again, stopped and continued. A server
/// that is started again knows nothing, and takes itself for a primary until the sentinels make it
/// a replica, about two seconds later.
class SentinelTrio {
 public:
  static constexpr std::size_t size = 3;

  /// Comes back when it is healthy, after about a second. The first server is the primary.
  explicit SentinelTrio(TrioOptions options = {});

  /// `redis-sentinel://h:p1,h:p2,h:p3#orders`, or `rediss-sentinel://`, with the servers' user and
  /// password.
  std::string url() const;
  const TrioOptions& options() const noexcept { return options_; }

  RedisServer& server(std::size_t number) { return *servers_[number]; }
  SentinelServer& sentinel(std::size_t number) { return *sentinels_[number]; }
  /// Where clients connect to a server.
  std::uint16_t port(std::size_t number) const;

  /// Logged in, over the Unix socket. Throws std::runtime_error for one that does not run.
  RawClient at_server(std::size_t number);
  RawClient at_sentinel(std::size_t number);

  /// The number of the primary that all running sentinels name, if it runs and says so, too.
  std::optional<std::size_t> primary();
  /// After `old` was killed or stopped: until `primary` is another one. On a busy machine,
  /// sentinels vote for themselves, or find no replica, and would try again eight seconds later:
  /// where they have given up, the failover is ordered. Nothing after 40 s.
  std::optional<std::size_t> switched_from(std::size_t old);
  /// Until every server is in step with one primary, and every sentinel knows all of them, so that
  /// a failover can begin.
  bool becomes_healthy(std::chrono::milliseconds bound = default_bound);
  /// SENTINEL FAILOVER, again where they give up, until `primary` is another one than `old`, which
  /// serves. Nothing after 40 s.
  std::optional<std::size_t> fail_over_from(std::size_t old);
  /// What each sentinel has written to its log.
  std::string logs() const;

 private:
  static constexpr std::chrono::milliseconds default_bound{40'000};

  std::optional<std::size_t> agreed_primary();
  std::optional<std::size_t> switched_from(std::size_t old, std::string_view flag);
  bool all_await_failover(std::size_t old, std::string_view flag);
  void order_failover();
  std::vector<std::string> server_settings() const;
  std::vector<std::string> configuration_of(std::size_t sentinel) const;
  bool server_is_healthy(std::size_t number, std::size_t primary);
  bool sentinel_is_healthy(std::size_t number);
  bool is_healthy();
  void hurry(std::size_t sentinel);

  TrioOptions options_;
  std::array<std::unique_ptr<RedisServer>, size> servers_{};
  std::array<std::unique_ptr<SentinelServer>, size> sentinels_{};
};

}  // namespace redlatch::test
