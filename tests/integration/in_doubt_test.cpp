#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace in_doubt_test {

constexpr auto command_timeout = 500ms;
/// For everything that may come on top on a slow machine.
constexpr auto slack = 10s;

/// A server that stops without a word, with a client that is connected to it. What stays behind
/// would stay for a minute, so that whatever goes earlier was cleaned up.
class LockInDoubt : public ServerTest {
 protected:
  LockInDoubt() : ServerTest({.connect_timeout = 10s, .command_timeout = command_timeout}) {
    EXPECT_TRUE(eventually([&] { return !error_of([&] { const Lock warm_up(client, "job"); }); }));
    raw.command({"CONFIG", "RESETSTAT"});
  }
  ~LockInDoubt() override { server.resume(); }

  /// The server has taken the lock after all, and given it up again.
  bool is_cleaned_up() {
    return eventually([&] { return raw.calls("set") == 1 && !raw.exists("job"); });
  }

  Lock lock{client, "job", std::defer_lock, long_lease};
};

TEST_F(LockInDoubt, AcquisitionIsTimedOutAndTakenBackInTheBackground) {
  server.pause();
  std::optional<Error> error;
  const auto time = duration_of([&] { error = thrown_by([&] { lock.lock(); }); });
  EXPECT_EQ(error->code(), Errc::timed_out) << error->what();
  EXPECT_TRUE(error->in_doubt());
  EXPECT_GE(time, command_timeout);
  EXPECT_LT(time, command_timeout + slack);
  EXPECT_FALSE(lock.owns_lock());
  server.resume();
  EXPECT_TRUE(is_cleaned_up());
}

TEST_F(LockInDoubt, AcquisitionIsTakenBackAlsoWithoutScripting) {
  Client without(server.url(),
                 {.connect_timeout = 10s, .command_timeout = command_timeout, .scripting = false});
  EXPECT_TRUE(eventually([&] { return !error_of([&] { const Lock warm_up(without, "job"); }); }));
  raw.command({"CONFIG", "RESETSTAT"});
  lock = Lock(without, "job", std::defer_lock, long_lease);
  server.pause();
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::timed_out);
  server.resume();
  EXPECT_TRUE(is_cleaned_up());
}

TEST_F(LockInDoubt, AcquisitionIsTakenBackAlsoWhenTheLockIsGoneAtOnce) {
  server.pause();
  EXPECT_EQ(error_of([&] { const Lock gone(client, "job", long_lease); }), Errc::timed_out);
  server.resume();
  EXPECT_TRUE(is_cleaned_up());
}

TEST_F(LockInDoubt, AcquisitionIsTakenBackBeforeTheNextOneSucceeds) {
  server.pause();
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::timed_out);
  server.resume();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
  EXPECT_TRUE(eventually([&] { return raw.get("job") == lock.token(); }));
}

TEST_F(LockInDoubt, ReleaseIsUnknownWithinTheTimeOutAndDoneLater) {
  lock.lock();
  server.pause();
  Unlock answer = Unlock::released;
  const auto time = duration_of([&] { answer = lock.unlock(); });
  EXPECT_EQ(answer, Unlock::unknown);
  EXPECT_GE(time, command_timeout);
  EXPECT_LT(time, command_timeout + slack);
  EXPECT_FALSE(lock.owns_lock());
  server.resume();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(LockInDoubt, ReleaseByTheDestructorComesBackWithinTheTimeOutAndIsDoneLater) {
  lock.lock();
  server.pause();
  EXPECT_LT(duration_of([&] { const Lock gone(std::move(lock)); }), command_timeout + slack);
  server.resume();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(LockInDoubt, ReleaseIsWaitedForByTheLastOfAClientWithinTheTimeOut) {
  auto own = std::make_unique<Client>(
      server.url(), ClientOptions{.connect_timeout = 10s, .command_timeout = command_timeout});
  auto held = std::make_unique<Lock>(*own, "job:2", std::defer_lock, long_lease);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { held->lock(); }); }));
  server.pause();
  own.reset();
  EXPECT_LT(duration_of([&] { held.reset(); }), 2 * command_timeout + slack);
}

TEST_F(LockInDoubt, ExtensionIsTimedOutAndStaysHeldAsLongAsIsCertain) {
  lock.lock();
  server.pause();
  const Error error = thrown_by([&] { static_cast<void>(lock.extend(20s)); });
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_TRUE(error.in_doubt());
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_LE(lock.remaining(), 20s);
  server.resume();
  EXPECT_TRUE(eventually([&] { return raw.calls("evalsha") == 1; }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockInDoubt, IsNoQuestionThatChangesNothing) {
  lock.lock();
  server.pause();
  const Error error = thrown_by([&] { static_cast<void>(lock.verify()); });
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(LockInDoubt, IsNoCallThatDidNotGetAConnection) {
  server.pause();
  Client fresh(server.url(), {.connect_timeout = command_timeout, .command_timeout = 10s});
  std::optional<Error> error;
  const auto time = duration_of(
      [&] { error = thrown_by([&] { const Lock never(fresh, "job:2", long_lease); }); });
  EXPECT_EQ(error->code(), Errc::unreachable) << error->what();
  EXPECT_FALSE(error->in_doubt());
  EXPECT_GE(time, command_timeout);
  EXPECT_LT(time, command_timeout + slack);
}

/// A server that takes connections and says nothing once it is told to be silent.
TEST(LockDestructorWithoutConnection, DoesNotConnectInTheCaller) {
  std::atomic<bool> silent = false;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (silent) return std::string();
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  Client client(server.url(), {.connect_timeout = 60s, .command_timeout = 60s});
  std::optional<Lock> lock(std::in_place, client, "job", LockOptions{.ttl = 1s});
  ASSERT_TRUE(lock->owns_lock());
  silent = true;
  server.close_all();
  EXPECT_LT(duration_of([&] { lock.reset(); }), 30s);
  EXPECT_TRUE(eventually([&] { return server.connections() > 1; })) << "the background connects";
  silent = false;
  server.close_all();
}

TEST(LockUnlockWithoutConnection, ConnectsWithinTheTimeOutOfTheCommand) {
  std::atomic<bool> silent = false;
  ScriptedServer server([&](const ScriptedRequest&) { return silent ? std::string() : resp::ok; });
  Client client(server.url(), {.connect_timeout = 60s, .command_timeout = command_timeout});
  Lock lock(client, "job", std::defer_lock, {.ttl = 5s});
  ASSERT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
  silent = true;
  server.close_all();
  EXPECT_LT(duration_of([&] { EXPECT_EQ(lock.unlock(), Unlock::unknown); }),
            command_timeout + slack);
}

}  // namespace in_doubt_test
}  // namespace redlatch::test
