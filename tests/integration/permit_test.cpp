// A Permit is one of at most so many.

#include <algorithm>
#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"
#include "family.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace permit_test {

constexpr int limit = 3;

/// How many are in at the same time.
struct Room {
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  std::atomic<int> visits = 0;

  void visit(Client& client) {
    const Permit permit(client, "job", limit, long_lease);
    const int now = ++inside;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    ++visits;
    std::this_thread::yield();
    --inside;
  }
};

class PermitLimit : public QueueTest {
 protected:
  using Contender = ContenderOf<Permit>;

  std::int64_t taken() { return raw.command({"ZCARD", "job"}).integer; }
  Permit one() { return Permit(client, "job", limit, std::try_to_lock, long_lease); }
};

TEST_F(PermitLimit, AreNeverMoreThanTheLimitBetweenProcesses) {
  const SharedMemory<Room> room;
  std::list<Child> processes;
  for (int i = 0; i < 6; ++i) {
    processes.emplace_back([&] {
      Client own(server.url(), patient());
      for (int j = 0; j < 50; ++j) room->visit(own);
    });
  }
  for (Child& process : processes) EXPECT_EQ(process.wait(), 0);
  EXPECT_EQ(room->visits, 300);
  EXPECT_LE(room->most, limit);
  EXPECT_GE(room->most, 1);
}

TEST_F(PermitLimit, AreNeverMoreThanTheLimitBetweenThreads) {
  Room room;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 30; ++j) room.visit(client);
    });
  }
  threads.clear();
  EXPECT_EQ(room.visits, 240);
  EXPECT_LE(room.most, limit);
  EXPECT_TRUE(is_empty());
}

TEST_F(PermitLimit, AreRefusedWhenAllAreTaken) {
  Permit first = one();
  const Permit second = one();
  const Permit third = one();
  EXPECT_TRUE(first && second && third);
  EXPECT_FALSE(one());
  EXPECT_EQ(taken(), 3);
  EXPECT_EQ(first.unlock(), Unlock::released);
  EXPECT_TRUE(one());
}

TEST_F(PermitLimit, AreGrantedInTheOrderOfArrivalOneForEachThatIsGivenBack) {
  std::vector<Permit> held;
  for (int i = 0; i < limit; ++i) held.push_back(one());
  std::vector<std::unique_ptr<Contender>> contenders;
  for (int i = 0; i < 4; ++i) {
    contenders.push_back(std::make_unique<Contender>(another(), long_lease, limit));
    ASSERT_TRUE(is_queued(i + 1));
  }
  for (std::size_t i = 0; i < held.size(); ++i) {
    held[i].unlock();
    ASSERT_TRUE(contenders[i]->has_it());
    EXPECT_EQ(taken(), limit);
    EXPECT_FALSE(contenders[i + 1]->held);
  }
}

TEST_F(PermitLimit, AreNotOvertaken) {
  Permit first = one();
  const Permit second = one();
  const Permit third = one();
  Contender waiting(another(), long_lease, limit);
  ASSERT_TRUE(is_queued(1));
  first.unlock();
  EXPECT_FALSE(one());
  EXPECT_TRUE(waiting.has_it());
}

TEST_F(PermitLimit, OfADeadHolderComeBackAtTheEndOfItsLeaseWhileOthersAreHeld) {
  const SharedMemory<std::atomic<bool>> held;
  Child dead([&] {
    Client own(server.url(), patient());
    const Permit permit(own, "job", limit, {.ttl = 1s});
    *held = true;
    eventually([] { return false; }, 60s);
  });
  ASSERT_TRUE(eventually([&] { return held->load(); }));
  const Permit second = one();
  const Permit third = one();
  dead.kill();
  EXPECT_EQ(taken(), 3);
  Contender waiting(another(), long_lease, limit);
  ASSERT_TRUE(waiting.has_it());
  EXPECT_TRUE(second.owns_lock() && third.owns_lock());
  EXPECT_EQ(taken(), 3);
}

TEST_F(PermitLimit, OfAnotherLimitAreRefusedWhileSomebodyHoldsOne) {
  const Permit held = one();
  Permit other(client, "job", 5, std::defer_lock);
  for (const Error& error :
       {thrown_by([&] { static_cast<void>(other.try_lock()); }), thrown_by([&] { other.lock(); }),
        thrown_by([&] { static_cast<void>(other.try_lock_for(1s)); })}) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_FALSE(error.in_doubt());
    EXPECT_NE(std::string(error.what()).find("a limit of 3"), std::string::npos) << error.what();
  }
  EXPECT_EQ(taken(), 1);
  EXPECT_TRUE(is_queued(0));
  EXPECT_TRUE(held.owns_lock());
}

TEST_F(PermitLimit, OfAnotherLimitAreRefusedAlsoWhenAllAreTaken) {
  const Permit all(client, "job", 1);
  EXPECT_EQ(error_of([&] { const Permit other(client, "job", 2, 1s); }), Errc::invalid_argument);
}

TEST_F(PermitLimit, HaveAnotherLimitAsSoonAsNobodyHoldsOne) {
  { const Permit held = one(); }
  const Permit first(client, "job", 5, std::try_to_lock);
  EXPECT_TRUE(first) << "although the release before was for a server that did not know its script";
  for (int i = 0; i < 3; ++i) {
    raw.command({"SCRIPT", "FLUSH"});
    { const Permit held(client, "other", 2 + i); }
    EXPECT_TRUE(Permit(client, "other", 7, 1s));
  }
}

TEST_F(PermitLimit, MakeWayForOtherKindsOfLocksAsSoonAsNobodyHoldsOne) {
  { const Permit held = one(); }
  EXPECT_TRUE(ReadLock(client, "job", std::try_to_lock));
  raw.command({"SCRIPT", "FLUSH"});
  { const Permit held = one(); }
  EXPECT_TRUE(Lock(client, "job", 1s));
}

/// Whose scores are in the past, as those of a holder that has died.
TEST_F(PermitLimit, LeaveASetOfSomethingElseAlone) {
  raw.command({"ZADD", "job", "5", "alice", "7", "bob", "99999999999999", "carol"});
  for (const Error& error : {thrown_by([&] { static_cast<void>(one()); }), thrown_by([&] {
                               static_cast<void>(ReadLock(client, "job", std::try_to_lock));
                             }),
                             thrown_by([&] { const Permit permit(client, "job", limit, 1s); })}) {
    EXPECT_EQ(error.code(), Errc::wrong_type);
    EXPECT_FALSE(error.in_doubt());
  }
  EXPECT_EQ(raw.command({"ZCARD", "job"}).integer, 3);
}

TEST_F(PermitLimit, OfManyAreAllThere) {
  std::vector<Permit> all;
  for (int i = 0; i < 200; ++i) all.emplace_back(client, "job", 200, std::try_to_lock, long_lease);
  EXPECT_TRUE(std::all_of(all.begin(), all.end(), [](const Permit& one) { return bool(one); }));
  EXPECT_FALSE(Permit(client, "job", 200, std::try_to_lock));
}

TEST_F(PermitLimit, AreNoOtherKindOfALock) {
  const Permit permit = one();
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job"); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { const FairLock lock(client, "job"); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { const ReadLock lock(client, "job"); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { const WriteLock lock(client, "job", 1s); }), Errc::wrong_type);
  const Error error =
      thrown_by([&] { static_cast<void>(RecursiveLock(client, "job", std::try_to_lock)); });
  EXPECT_EQ(error.code(), Errc::wrong_type);
  EXPECT_EQ(std::string(error.what()).find("delete"), std::string::npos) << error.what();
  EXPECT_EQ(taken(), 1);
}

/// As long as a token is, and of the same characters, a label must not make a permit of the value
/// of a lock.
TEST_F(PermitLimit, AreNotGrantedToAWaiterForALockWithALabelLikeAToken) {
  RawClient listener(server.socket());
  listener.command({"SUBSCRIBE", "redlatch:lock"});
  raw.command({"RPUSH", "job:redlatch:queue:{job}",
               "99999999999999 60000 redlatch:lock 11111111-2222-4333-8444-555555555555 "
               "66666666-7777-4888-9999-000000000000"});
  const Permit permit = one();
  EXPECT_TRUE(permit);
  EXPECT_EQ(taken(), 1);
}

TEST_F(PermitLimit, AreNotHadOfOtherKindsOfLocks) {
  const Lock lock(client, "job", long_lease);
  EXPECT_EQ(error_of([&] { static_cast<void>(one()); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { const Permit permit(client, "job", limit); }), Errc::wrong_type);
  const ReadLock reader(client, "reading", long_lease);
  EXPECT_EQ(error_of([&] { const Permit permit(client, "reading", limit); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { const RecursiveLock recursive(client, "reading"); }), Errc::wrong_type);
  EXPECT_TRUE(lock.owns_lock() && reader.owns_lock());
}

}  // namespace permit_test
}  // namespace redlatch::test
