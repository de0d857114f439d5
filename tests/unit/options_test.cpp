#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>

#include <redlatch/redlatch.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace options_test {

Errc refusal_of_ttl(std::chrono::milliseconds ttl) {
  const Fake executor = fake();
  const Error error = error_of([&] { return lock_on(executor, {.ttl = ttl}).owns_lock(); });
  return static_cast<Errc>(error.code().value());
}

/// What is wrong with the options of a client that cannot work.
std::string complaint(const ClientOptions& options) {
  const Error error = error_of([&] { return Client("redis://127.0.0.1:1", options).executor(); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  return error.what();
}

TEST(LockOptions, RefuseATtlThatCannotWork) {
  using ms = std::chrono::milliseconds;
  for (const ms ttl : {ms(9), ms(1), ms(0), ms(-1), ms(-10'000), ms::min(), ms::max()}) {
    SCOPED_TRACE(ttl.count());
    EXPECT_EQ(refusal_of_ttl(ttl), Errc::invalid_argument);
  }
}

TEST(LockOptions, AcceptTenMilliseconds) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 10ms});
  EXPECT_TRUE(lock.owns_lock());
}

TEST(LockOptions, AcceptACenturyWithoutOverflow) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = std::chrono::years(100)});
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_GT(lock.remaining(), std::chrono::years(98));
}

TEST(LockOptions, RefuseTimesThatCannotBeCounted) {
  using ms = std::chrono::milliseconds;
  const Fake executor = fake();
  for (const ms time : {ms::min(), ms(-1), ms::max()}) {
    SCOPED_TRACE(time.count());
    EXPECT_EQ(error_of([&] { lock_on(executor, {.max_hold = time}); }).code(),
              Errc::invalid_argument);
    EXPECT_EQ(error_of([&] { lock_on(executor, {.min_hold = time}); }).code(),
              Errc::invalid_argument);
    EXPECT_EQ(error_of([&] { lock_on(executor, {.durability = {.timeout = time}}); }).code(),
              Errc::invalid_argument);
  }
}

TEST(LockOptions, AcceptTheLongestTimesThereAre) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = std::chrono::years(100),
                                           .max_hold = std::chrono::years(100),
                                           .min_hold = std::chrono::years(100)});
  EXPECT_TRUE(lock.owns_lock());
}

TEST(LockOptions, RefuseAMinHoldThatALeaseWithoutRenewalsCannotLast) {
  const Fake executor = fake();
  const Error error =
      error_of([&] { lock_on(executor, {.ttl = 1s, .auto_renew = false, .min_hold = 1001ms}); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("1001 ms"), std::string::npos) << error.what();
  EXPECT_NO_THROW(lock_on(executor, {.ttl = 1s, .auto_renew = false, .min_hold = 1s}));
  EXPECT_NO_THROW(lock_on(executor, {.ttl = 1s, .min_hold = 1h}));
  EXPECT_EQ(
      error_of([&] { lock_on(executor, {.ttl = 1s, .max_hold = 4s, .min_hold = 5s}); }).code(),
      Errc::invalid_argument);
  EXPECT_NO_THROW(lock_on(executor, {.ttl = 1s, .max_hold = 5s, .min_hold = 5s}));
  EXPECT_NO_THROW(lock_on(executor, {.ttl = 5s, .max_hold = 4s, .min_hold = 5s}));
}

TEST(LockOptions, NameTheTtlThatIsWrong) {
  const Fake executor = fake();
  const Error error = error_of([&] { return lock_on(executor, {.ttl = 7ms}).owns_lock(); });
  EXPECT_NE(std::string(error.what()).find("7 ms"), std::string::npos);
}

TEST(LockOptions, AreCheckedBeforeAnythingIsSent) {
  const Fake executor = fake();
  EXPECT_THROW(lock_on(executor, {.ttl = 0ms}), Error);
  EXPECT_TRUE(executor->calls.empty());
}

TEST(Lock, RefusesAnEmptyKey) {
  const Fake executor = fake();
  const Error error =
      error_of([&] { return TestLock(executor, protocol::Exclusive(""), {}).owns_lock(); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
}

TEST(Lock, IsMadeWithoutAServer) {
  Client client("redis://127.0.0.1:1");
  const Lock lock(client, "job", std::defer_lock, {.ttl = 30s});
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.key(), "job");
}

TEST(Lock, ChecksItsOptionsInEveryConstructor) {
  Client client("redis://127.0.0.1:1");
  const LockOptions bad{.ttl = 1ms};
  const auto code = [](const auto& make) {
    return error_of([&] { return make().owns_lock(); }).code();
  };
  EXPECT_EQ(code([&] { return Lock(client, "job", bad); }), Errc::invalid_argument);
  EXPECT_EQ(code([&] { return Lock(client, "job", std::try_to_lock, bad); }),
            Errc::invalid_argument);
  EXPECT_EQ(code([&] { return Lock(client, "job", std::defer_lock, bad); }),
            Errc::invalid_argument);
  EXPECT_EQ(code([&] { return Lock(client, "job", 5s, bad); }), Errc::invalid_argument);
}

TEST(Lock, OutlivesItsClient) {
  auto client = std::make_unique<Client>("redis://127.0.0.1:1");
  const Lock lock(*client, "job", std::defer_lock);
  client.reset();
  EXPECT_FALSE(lock.owns_lock());
}

TEST(ClientOptions, NameTheTimeOutThatIsWrong) {
  EXPECT_NE(complaint({.connect_timeout = 0ms}).find("connect_timeout"), std::string::npos);
  EXPECT_NE(complaint({.connect_timeout = -1ms}).find("connect_timeout"), std::string::npos);
  EXPECT_NE(
      complaint({.connect_timeout = std::chrono::milliseconds::max()}).find("connect_timeout"),
      std::string::npos);
  EXPECT_NE(complaint({.command_timeout = 0ms}).find("command_timeout"), std::string::npos);
  EXPECT_NE(complaint({.command_timeout = -1ms}).find("command_timeout"), std::string::npos);
}

TEST(ClientOptions, RefuseToHaveNoConnection) {
  EXPECT_NE(complaint({.connections = 0}).find("connections"), std::string::npos);
  EXPECT_NE(complaint({.busy_poll = -1us}).find("busy_poll"), std::string::npos);
}

TEST(ClientOptions, AcceptTheLongestTimesThereAre) {
  EXPECT_NO_THROW(Client("redis://127.0.0.1:1", {.connect_timeout = 24h,
                                                 .command_timeout = 24h,
                                                 .busy_poll = std::chrono::microseconds::max()}));
}

TEST(ClientOptions, RefuseANameThatTheServerWouldRefuse) {
  for (const std::string name : {"two words", "line\nbreak", "tab\t", "\x7f", "na\xc3\xafve"}) {
    SCOPED_TRACE(name);
    EXPECT_NE(complaint({.client_name = name}).find("client_name"), std::string::npos);
  }
}

TEST(ClientOptions, AcceptPlainNames) {
  EXPECT_NO_THROW(Client("redis://127.0.0.1:1", {.client_name = "worker-7:blue"}));
}

TEST(Client, RefusesABadUrl) {
  const Error error = error_of([] { return Client("http://host").executor(); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
}

TEST(Client, ConnectsToNothingByItself) { EXPECT_NO_THROW(Client("redis://no.such.host.invalid")); }

}  // namespace options_test
}  // namespace redlatch::test
