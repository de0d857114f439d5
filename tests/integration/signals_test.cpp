#include <signal.h>
#include <sys/time.h>

#include <csignal>
#include <string>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace signals_test {

volatile std::sig_atomic_t alarms = 0;

/// A signal every millisecond, which interrupts every system call that can be.
class SignalStorm {
 public:
  SignalStorm() {
    struct sigaction action {};
    action.sa_handler = [](int) { alarms = alarms + 1; };
    ::sigaction(SIGALRM, &action, &before_);
    set_interval(1000);
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;
  ~SignalStorm() {
    set_interval(0);
    ::sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  static void set_interval(suseconds_t microseconds) {
    const itimerval timer{.it_interval = {.tv_sec = 0, .tv_usec = microseconds},
                          .it_value = {.tv_sec = 0, .tv_usec = microseconds}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }

  struct sigaction before_ {};
};

class ClientSignals : public ServerTest {
 protected:
  ~ClientSignals() override { EXPECT_GT(alarms - alarms_before_, 20) << "there was no storm"; }

 private:
  const std::sig_atomic_t alarms_before_ = alarms;
};

TEST_F(ClientSignals, DisturbNoneOfManyCycles) {
  const SignalStorm storm;
  for (int i = 0; i < 2000; ++i) {
    Lock lock(client, "job:" + std::to_string(i % 8), std::try_to_lock);
    ASSERT_TRUE(lock.owns_lock());
    ASSERT_EQ(lock.unlock(), Unlock::released);
  }
}

TEST_F(ClientSignals, DisturbNoConnecting) {
  const SignalStorm storm;
  for (int i = 0; i < 200; ++i) {
    Client fresh(i % 2 == 0 ? server.url() : server.unix_url(), patient());
    ASSERT_TRUE(Lock(fresh, "job", std::try_to_lock));
  }
}

TEST_F(ClientSignals, MoveNoDeadline) {
  const SignalStorm storm;
  const Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  const auto time = duration_of([&] { EXPECT_FALSE(lock.try_lock_for(300ms)); });
  EXPECT_GE(time, 300ms);
  EXPECT_LT(time, 10s);
}

TEST_F(ClientSignals, MoveNoTimeOut) {
  const SignalStorm storm;
  Client hasty(server.url(), {.connect_timeout = 300ms, .command_timeout = 20s});
  server.pause();
  const auto time =
      duration_of([&] { EXPECT_EQ(error_of([&] { hasty.ping(); }), Errc::unreachable); });
  server.resume();
  EXPECT_GE(time, 300ms);
  EXPECT_LT(time, 10s);
}

TEST(ClientBrokenPipe, IsNoSignalToTheProgram) {
  ASSERT_NE(::signal(SIGPIPE, SIG_DFL), SIG_ERR);
  const TemporaryDirectory directory;
  ScriptedServer* self = nullptr;
  // It says that it does not know the script, and is gone before it can be told.
  ScriptedServer server(
      [&](const ScriptedRequest& request) {
        if (request.is("SET")) return resp::ok;
        if (request.is("EVALSHA")) {
          self->close_after_answer();
          return resp::error("NOSCRIPT No matching script.");
        }
        return resp::ok;
      },
      directory.path() + "/socket");
  self = &server;
  // A lease may be over before its answer comes, or before its release.
  int unknown = 0;
  EXPECT_TRUE(eventually(
      [&] {
        error_of([&] {
          Client client(server.url(), {.connect_timeout = 10s, .command_timeout = 1s});
          Lock lock(client, "job", {.ttl = 100ms});
          if (lock.unlock() == Unlock::unknown) ++unknown;
        });
        return unknown == 20;
      },
      60s));
}

}  // namespace signals_test
}  // namespace redlatch::test
