// What the scripts make of an entry in the queue at the server.

#include <atomic>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/queue.hpp>

#include "contender.hpp"
#include "family.hpp"
#include "filter_proxy.hpp"
#include "scripts.hpp"

namespace redlatch::test {
namespace queue_entry_test {

class ServerQueueEntry : public ServerQueueTest {
 protected:
  std::int64_t say(const protocol::Script& script, std::vector<std::string> arguments) {
    std::vector<std::string> words{"EVAL", std::string(script.text), "2", "job", queue};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return raw.command(words).integer;
  }
  std::int64_t stand(const std::string& expiry) {
    return say(protocol::stand_script, {"me and my label", "60000", "redlatch:me", "3000", expiry});
  }
};

/// One has expired, the waiter of one is gone, and one is of a lock of another class.
TEST_F(ServerQueueEntry, IsSkippedIfItCannotHold) {
  RawClient listener(server.socket());
  listener.command({"SUBSCRIBE", "redlatch:heard"});
  RawClient monitor(server.socket());
  monitor.command({"PSUBSCRIBE", "*"});  // which PUBLISH counts
  raw.command({"RPUSH", queue, "1 60000 redlatch:heard 11111111-2222-4333-8444-555555555555",
               "99999999999999 60000 redlatch:nobody 21111111-2222-4333-8444-555555555555",
               "99999999999999 60000 redlatch:heard 3 31111111-2222-4333-8444-555555555555"});
  Contender contender(another());
  ASSERT_TRUE(is_queued(4));
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
  contender.ends();
  EXPECT_TRUE(is_empty());
}

/// It has the label of the waiter that has left.
TEST_F(ServerQueueEntry, IsNotInheritedByAWaiterWithAnotherLabel) {
  Client two = another();
  std::stop_source stop;
  std::jthread leaving([&] {
    Lock lock(two, "job", std::defer_lock, {.ttl = 60s, .label = "one"});
    EXPECT_FALSE(lock.lock(stop.get_token()));
  });
  ASSERT_TRUE(is_queued(1));
  std::atomic<bool> is_held = false;
  std::atomic<bool> is_over = false;
  std::jthread staying([&] {
    const Lock lock(two, "job", {.ttl = 60s, .label = "another"});
    is_held = true;
    eventually([&] { return is_over.load(); });
  });
  ASSERT_TRUE(eventually([&] { return two.metrics().waiting == 2; }));
  stop.request_stop();
  leaving.join();
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_TRUE(eventually([&] { return is_held.load(); }));
  EXPECT_TRUE(raw.get("job").ends_with(" another")) << raw.get("job");
  is_over = true;
}

template <class Classes>
class EveryQueueEntry : public FamilyTest<Classes> {};
TYPED_TEST_SUITE(EveryQueueEntry, Pairs, );

/// While scripts are refused, its waiter cannot take it out. It does afterwards, and if the waiter
/// is gone by then, the queue ends by itself.
TYPED_TEST(EveryQueueEntry, IsLeftForAMinuteAtMostWhereScriptsAreRefused) {
  ASSERT_TRUE(this->holder.try_lock());
  std::atomic<bool> refuses = false;
  const FilterProxy proxy(this->server.socket(),
                          [&](const ScriptedRequest& request) -> std::optional<std::string> {
                            if (!refuses || !request.name().starts_with("EVAL")) return {};
                            return resp::error("ERR command not support for your account");
                          });
  Rival<typename TypeParam::Waiter> contender(Client(proxy.url(), less_patient()));
  ASSERT_TRUE(this->is_queued(1));
  refuses = true;
  contender.cancel();
  // By the stop, or by the refusal of what it was about to ask.
  EXPECT_TRUE(eventually([&] { return contender.ended.load(); }));
  EXPECT_EQ(this->queued(), 1);
  EXPECT_GT(this->raw.pttl(this->queue), 0);
  EXPECT_LE(this->raw.pttl(this->queue), 60'000);
  refuses = false;
  EXPECT_TRUE(this->is_queued(0));
}

TEST_F(ServerQueueEntry, IsFoundByTheWayThatItLookedLast) {
  const std::int64_t expiry = stand("new") / 8;
  EXPECT_EQ(entry(0).expiry, expiry);
  EXPECT_EQ(entry(0).value, "me and my label");
  EXPECT_EQ(stand(std::to_string(expiry)) % 8, 3);
  EXPECT_EQ(queued(), 1);
}

TEST_F(ServerQueueEntry, IsFoundWhenTheLastAnswerWasLost) {
  raw.command({"RPUSH", queue, "1 60000 redlatch:other other and my label"});
  const std::int64_t before = stand("new") / 8;
  EXPECT_EQ(stand("1") % 8, 2);
  EXPECT_EQ(queued(), 2);
  EXPECT_GE(entry(1).expiry, before);
}

TEST_F(ServerQueueEntry, IsTakenOutWhateverIsKnownOfIt) {
  for (const bool is_known : {true, false}) {
    const std::string expiry = std::to_string(stand("new") / 8);
    EXPECT_EQ(say(protocol::leave_script,
                  {"me and my label", "60000", "redlatch:me", is_known ? expiry : "0"}),
              1);
    EXPECT_EQ(queued(), 0);
  }
  EXPECT_EQ(say(protocol::leave_script, {"me and my label", "60000", "redlatch:me", "0"}), 0);
}

TEST_F(ServerQueueEntry, IsSaidToBeGoneAlsoWhenNobodyIsLeft) {
  holder.unlock();
  EXPECT_EQ(raw.command({"EVAL", std::string(protocol::stand_script.text), "2", "job", queue,
                         "nobody", "60000", "redlatch:nobody", "3000", "0"})
                .integer,
            static_cast<std::int64_t>(protocol::QueueStatus::gone));
  EXPECT_FALSE(raw.exists("job"));
}

class ScriptsOfAKey : public ServerTest {};

TEST_F(ScriptsOfAKey, AreFoundByTheHashThatTheServerHas) {
  for (const NamedScript& one : all_scripts) {
    EXPECT_EQ(raw.command({"SCRIPT", "LOAD", std::string(one.script->text)}).text,
              one.script->sha1())
        << one.name;
  }
}

}  // namespace queue_entry_test
}  // namespace redlatch::test
