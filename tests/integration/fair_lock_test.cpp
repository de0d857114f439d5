// FairLock: who came first is served first.

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/fair.hpp>

#include "family.hpp"
#include "process.hpp"

namespace redlatch::test {
namespace {

class FairLocks : public FamilyTest {
 protected:
  std::unique_ptr<ContenderFor<FairLock>> contender() {
    return std::make_unique<ContenderFor<FairLock>>(another(),
                                                    [](Client& own) { return Fair::make(own); });
  }
};

/// What the server does with "job", in its own order, as MONITOR has it.
class Order {
 public:
  /// Knows the script, so that nobody has to say it twice.
  explicit Order(const std::string& socket) : monitor_(socket) {
    monitor_.command({"SCRIPT", "LOAD", std::string(protocol::stand_script.text)});
    monitor_.command({"MONITOR"});
  }

  void read_until(std::size_t grants) {
    while (granted_.size() < grants) read(monitor_.next().text);
  }
  const std::vector<std::string>& arrived() const { return arrived_; }
  const std::vector<std::string>& granted() const { return granted_; }

 private:
  static std::vector<std::string> words(const std::string& line) {
    std::vector<std::string> words;
    for (std::size_t at = line.find('"'); at != std::string::npos;) {
      const std::size_t end = line.find('"', at + 1);
      words.push_back(line.substr(at + 1, end - at - 1));
      at = line.find('"', end + 1);
    }
    return words;
  }

  void read(const std::string& line) {
    const std::vector<std::string> said = words(line);
    if (said.size() < 3) return;
    const bool joins = said[0].starts_with("EVAL") && said.back() == "new";
    if (joins) arrived_.push_back(said[5]);
    if (said[0] == "SET" && said[1] == "job") granted_.push_back(said[2]);
  }

  RawClient monitor_;
  std::vector<std::string> arrived_{};
  std::vector<std::string> granted_{};
};

TEST_F(FairLocks, AreGrantedInTheOrderOfArrivalToProcesses) {
  constexpr std::size_t processes = 8;
  constexpr std::size_t rounds = 1250;
  Order order(server.socket());
  std::vector<std::unique_ptr<Process>> all;
  for (std::size_t i = 0; i < processes; ++i) {
    all.push_back(std::make_unique<Process>(
        std::vector<std::string>{REDLATCH_WORKER, server.url(), "job", "/dev/null", "fair"}));
  }
  for (const auto& process : all) process->write_line("cycle " + std::to_string(rounds));
  order.read_until(processes * rounds);
  for (const auto& process : all) EXPECT_EQ(process->read_line(), "done");
  EXPECT_EQ(order.granted(), order.arrived());
}

TEST_F(FairLocks, AreGrantedInTheOrderOfArrivalToThreadsOfOneClient) {
  Order order(server.socket());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) FairLock lock(client, "job", long_lease);
    });
  }
  threads.clear();
  order.read_until(400);
  EXPECT_EQ(order.granted(), order.arrived());
}

TEST_F(FairLocks, HaveAnEntryForEachThread) {
  FairLock lock(client, "job", long_lease);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { FairLock second(client, "job", long_lease); });
  }
  EXPECT_TRUE(is_queued(4));
  lock.unlock();
}

/// At the moment when a lease ends nobody is served but the first.
TEST_F(FairLocks, AreNotOvertakenWhenALeaseExpires) {
  FairLock dead(client, "job", {.ttl = 1min, .auto_renew = false});
  const auto waiter = contender();
  ASSERT_TRUE(is_queued(1));
  Client late = another();
  raw.command({"PEXPIRE", "job", "1"});
  ASSERT_TRUE(eventually([&] {
    EXPECT_FALSE(FairLock(late, "job", std::try_to_lock, long_lease));
    return waiter->held.load();
  }));
}

TEST_F(FairLocks, HoldNobodyUpOnceTheyHaveGivenUp) {
  FairLock lock(client, "job", long_lease);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Client own = another();
      for (int round = 0; round < 25; ++round) EXPECT_FALSE(FairLock(own, "job", 5ms, long_lease));
    });
  }
  threads.clear();
  ASSERT_TRUE(is_queued(0));
  const auto waiter = contender();
  ASSERT_TRUE(is_queued(1));
  raw.command({"CONFIG", "RESETSTAT"});
  lock.unlock();
  ASSERT_TRUE(waiter->has_it());
  EXPECT_EQ(raw.calls("publish"), 1) << "the next one was told at once";
}

TEST_F(FairLocks, ExcludeLocks) {
  FairLock lock(client, "job", long_lease);
  Client other = another();
  EXPECT_FALSE(Lock(other, "job", std::try_to_lock));
  ContenderFor<Lock> waiter(
      another(), [](Client& own) { return Lock(own, "job", std::defer_lock, long_lease); });
  ASSERT_TRUE(is_queued(1));
  lock.unlock();
  EXPECT_TRUE(waiter.has_it());
}

TEST_F(FairLocks, AreNotPassedOnInsideTheProcess) {
  FairLock lock(client, "job", long_lease);
  const auto first = contender();
  ASSERT_TRUE(is_queued(1));
  std::jthread second([&] { Lock own(client, "job", long_lease); });
  ASSERT_TRUE(is_queued(2));
  lock.unlock();
  EXPECT_TRUE(first->has_it());
  first->ends();
}

TEST_F(FairLocks, AreNumbered) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  FairLock first(client, "job", fenced);
  const std::uint64_t number = first.fencing_token();
  EXPECT_GT(number, 0U);
  ContenderFor<FairLock> waiter(
      another(), [&](Client& own) { return FairLock(own, "job", std::defer_lock, fenced); });
  ASSERT_TRUE(is_queued(1));
  first.unlock();
  ASSERT_TRUE(waiter.has_it());
  EXPECT_GT(waiter.lock.fencing_token(), number);
  const std::uint64_t second = waiter.lock.fencing_token();
  waiter.ends();
  FairLock third(client, "job", std::try_to_lock, fenced);
  EXPECT_GT(third.fencing_token(), second);
}

TEST_F(FairLocks, SayWhenTheUserMayNotQueueUp) {
  raw.command(
      {"ACL", "SETUSER", "worker", "reset", "on", ">secret", "~job*", "+@all", "-subscribe"});
  Client worker("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()), patient());
  FairLock lock(client, "job", long_lease);
  FairLock waiting(worker, "job", std::defer_lock, long_lease);
  const Error error = thrown_by([&] { waiting.lock(); });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_NE(std::string(error.what()).find("queue up"), std::string::npos) << error.what();
  EXPECT_FALSE(waiting.try_lock());
}

TEST_F(FairLocks, SayWhenThereIsNoServer) {
  Client nowhere("redis://127.0.0.1:" + std::to_string(free_port()), patient());
  FairLock lock(nowhere, "job", std::defer_lock);
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::unreachable);
}

TEST_F(FairLocks, UseScriptsByTheHashThatTheServerHas) {
  EXPECT_EQ(raw.command({"SCRIPT", "LOAD", std::string(protocol::acquire_fair_script.text)}).text,
            protocol::acquire_fair_script.sha1);
}

}  // namespace
}  // namespace redlatch::test
