#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"

namespace redlatch::test {

using namespace std::chrono_literals;

/// For tests that are not about time: no machine is so busy that these are over.
inline ClientOptions patient() { return {.connect_timeout = 20s, .command_timeout = 20s}; }

/// The same with one connection for everything.
inline ClientOptions single() {
  ClientOptions options = patient();
  options.connections = 1;
  return options;
}

/// As patient where a server that is away must not keep the test waiting at its end.
inline ClientOptions less_patient() { return {.connect_timeout = 20s, .command_timeout = 2s}; }

/// A `map_address` that knows no other host than this one.
inline Address only_loopback(const Address& address) {
  if (address.host != "127.0.0.1") throw std::out_of_range("no such host");
  return address;
}

/// A lease that no test waits for.
inline const LockOptions long_lease{.ttl = 60s};

/// A server of the test's own, a client of it, and one without redlatch in it to look and meddle.
class ServerTest : public testing::Test {
 protected:
  explicit ServerTest(const ClientOptions& options = patient()) : client(server.url(), options) {}

  /// Waits until there is an entry in the queue of "job".
  bool somebody_waits() {
    return eventually([&] { return raw.exists("job:redlatch:queue:{job}"); });
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Client client;
};

/// Settings of a server by which a client that sends no scripts cannot know of DELEX and DELIFEQ,
/// and uses WATCH.
inline std::vector<std::string> only_watch() { return {"--rename-command", "COMMAND", ""}; }

/// The command, in lower case, by which a client releases a lock without scripts at this server.
inline std::string release_without_scripts(RawClient& raw) {
  for (const char* name : {"delex", "delifeq"}) {
    if (!raw.command({"COMMAND", "INFO", name}).elements.at(0).nil) return name;
  }
  return "watch";
}

/// The end of a lock that its owner did not learn from a call.
inline bool is_bad(const Event& event) {
  return event.kind == EventKind::lost || event.kind == EventKind::release_unknown;
}

/// What the action throws; empty when it returns.
template <class Action>
std::error_code error_of(Action action) {
  try {
    action();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

/// The same with everything that redlatch says about it. Fails the test when nothing is thrown.
template <class Action>
Error thrown_by(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(Errc::invalid_argument, "nothing was thrown");
}

/// What `acquire` returns. Its lease is so brief that it may be over before the answer comes on a
/// busy machine: that is an error, and the acquisition is tried again.
template <class Acquire>
auto in_time(Acquire acquire) {
  const auto bound = std::chrono::steady_clock::now() + 20s;
  for (;;) {
    try {
      return acquire();
    } catch (const Error&) {
      if (std::chrono::steady_clock::now() >= bound) throw;
    }
  }
}

/// A life of a lock on "job": acquired, refused to another one, extended, verified, released.
inline void live_one_life(Client& client, RawClient& raw, const LockOptions& options) {
  Lock lock(client, "job", options);
  EXPECT_FALSE(Lock(client, "job", 20ms));
  raw.command({"PEXPIRE", "job", "20000"});
  EXPECT_TRUE(lock.extend());
  EXPECT_GT(raw.pttl("job"), 20000);
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

/// How long the action takes.
template <class Action>
std::chrono::nanoseconds duration_of(Action action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::steady_clock::now() - start;
}

}  // namespace redlatch::test
