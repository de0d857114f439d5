// Callers that give up while others go on waiting on the same connection.

#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace abandoned_test {

const std::string silence;
constexpr auto command_timeout = 2s;

/// One connection to a server that holds an answer back, so that a batch forms behind it.
class Abandoned : public testing::Test {
 protected:
  using Answer = std::function<std::string(const ScriptedRequest&)>;
  /// `answer` is for all but the greeting and the first SET.
  explicit Abandoned(Answer answer = {}) : answer_(std::move(answer)) {}

  std::string handle(const ScriptedRequest& request) {
    if (request.is("SCRIPT")) return resp::ok;
    if (request.is("SET") && request.words[1] == "first") return silence;
    return answer_ ? answer_(request) : resp::ok;
  }

  /// Runs the action in a thread, and returns once that sleeps: it waits for a reply then, and all
  /// that do so are in one batch.
  template <class Action>
  std::jthread waiting(Action action) {
    std::atomic<pid_t> id = 0;
    std::jthread thread([&id, run = std::move(action)] {
      id = ::gettid();
      run();
    });
    EXPECT_TRUE(eventually([&] { return id != 0 && sleeps(id); }));
    return thread;
  }
  /// Until half of the time of those is over that wait by now. The time is the same for all callers
  /// of a client, so that nothing else makes one of them give up before another one.
  static void let_half_of_the_time_pass() { std::this_thread::sleep_for(command_timeout / 2); }

  std::jthread keep_the_connection() {
    std::jthread first([&] { const Lock lock(client, "first", long_lease); });
    EXPECT_TRUE(eventually([&] { return server.count("SET") == 1; }));
    return first;
  }

  std::size_t connection_of(const std::string& name, const std::string& key) const {
    for (const ScriptedRequest& request : server.requests()) {
      if (request.is(name) && request.words[request.is("SET") ? 1 : 3] == key) {
        return request.connection;
      }
    }
    return 0;
  }

  Answer answer_;
  ScriptedServer server{[this](const ScriptedRequest& request) { return handle(request); }};
  Client client{server.url(),
                {.connect_timeout = 20s, .command_timeout = command_timeout, .connections = 1}};
};

class LockAbandonedAcquisition : public Abandoned {
 protected:
  LockAbandonedAcquisition()
      : Abandoned([](const ScriptedRequest& request) {
          if (request.is("PING")) return resp::ok;
          return request.is("SET") ? silence : resp::integer(1);
        }) {}
};

/// The hasty one began a second earlier than the patient one, and both are said in one go.
TEST_F(LockAbandonedAcquisition, LeavesTheAnswersOfTheOthersToThem) {
  std::jthread first = keep_the_connection();
  std::optional<Error> hasty_error;
  std::atomic<bool> gave_up = false;
  std::jthread hasty = waiting([&] {
    hasty_error = thrown_by([&] { const Lock lock(client, "hasty", long_lease); });
    gave_up = true;
  });
  let_half_of_the_time_pass();
  std::error_code patient_error;
  bool held = false;
  std::jthread patient_one = waiting([&] {
    patient_error = error_of([&] {
      Lock lock(client, "patient", long_lease);
      held = lock.owns_lock();
    });
  });
  ASSERT_FALSE(gave_up);
  server.say(1, resp::ok);
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 3; }));
  ASSERT_TRUE(eventually([&] { return gave_up.load(); }));
  server.say(1, resp::ok + resp::ok);  // to "hasty" and "patient", if in this order
  patient_one.join();
  hasty.join();
  first.join();
  EXPECT_EQ(hasty_error->code(), Errc::timed_out);
  EXPECT_TRUE(hasty_error->in_doubt());
  EXPECT_EQ(patient_error, std::error_code());
  EXPECT_TRUE(held);
  ASSERT_TRUE(eventually([&] { return connection_of("EVALSHA", "hasty") != 0; }));
  EXPECT_EQ(connection_of("EVALSHA", "hasty"), connection_of("SET", "hasty"));
}

TEST_F(LockAbandonedAcquisition, IsUndoneBehindItOnTheSameConnection) {
  const Error error = thrown_by([&] { const Lock lock(client, "hasty", long_lease); });
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_TRUE(eventually([&] { return connection_of("EVALSHA", "hasty") == 1; }));
}

TEST_F(LockAbandonedAcquisition, LeavesTheNextCallerANewConnection) {
  EXPECT_TRUE(error_of([&] { const Lock lock(client, "hasty", long_lease); }));
  client.ping();
  EXPECT_EQ(server.connections(), 2U);
}

/// An answer that makes the leader say something again, while another one does not come.
class LockAbandonedWhileRetrying : public Abandoned {
 protected:
  LockAbandonedWhileRetrying()
      : Abandoned([](const ScriptedRequest& request) {
          if (request.is("EVALSHA") && request.words[3] == "mended") {
            return resp::error("NOSCRIPT No matching script. Please use EVAL.");
          }
          if (request.is("EVAL") || request.is("EVALSHA")) return resp::integer(1);
          return request.is("SET") && request.words[1] == "late" ? silence : resp::ok;
        }) {}
};

TEST_F(LockAbandonedWhileRetrying, IsNotWaitedForWhenItsTimeIsOver) {
  Lock mended(client, "mended", long_lease);
  std::jthread first([&] { const Lock lock(client, "first", long_lease); });
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 2; }));
  std::atomic<bool> gave_up = false;
  std::jthread extender = waiting([&] {
    static_cast<void>(error_of([&] { return mended.extend(); }));
    gave_up = true;
  });
  let_half_of_the_time_pass();
  std::error_code late_error;
  std::jthread late =
      waiting([&] { late_error = error_of([&] { const Lock lock(client, "late", long_lease); }); });
  ASSERT_FALSE(gave_up);
  server.say(1, resp::ok);
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 3; }));
  ASSERT_TRUE(eventually([&] { return gave_up.load(); }));
  server.say(1, resp::ok);  // to "late", which is not too late
  late.join();
  EXPECT_EQ(late_error, std::error_code());
  client.ping();
}

}  // namespace abandoned_test
}  // namespace redlatch::test
