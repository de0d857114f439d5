// Permit: at most so many at once.

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "family.hpp"

namespace redlatch::test {
namespace {

class Permits : public FamilyTest {
 protected:
  std::unique_ptr<ContenderFor<Permit>> contender() {
    return std::make_unique<ContenderFor<Permit>>(
        another(), [](Client& own) { return Permit(own, "job", 2, std::defer_lock, long_lease); });
  }

  Client other = another();
};

TEST_F(Permits, AreAsManyAsTheLimit) {
  Permit first(client, "job", 3, long_lease);
  Permit second(other, "job", 3, std::try_to_lock, long_lease);
  Permit third(client, "job", 3, 1s, long_lease);
  EXPECT_TRUE(first && second && third);
  EXPECT_FALSE(Permit(other, "job", 3, std::try_to_lock, long_lease));
  second.unlock();
  EXPECT_TRUE(Permit(other, "job", 3, std::try_to_lock, long_lease));
}

TEST_F(Permits, AreNeverMore) {
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Client own = another();
      for (int round = 0; round < 50; ++round) {
        const Permit permit(own, "job", 3, long_lease);
        const int now = ++inside;
        for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
        }
        std::this_thread::yield();
        --inside;
      }
    });
  }
  threads.clear();
  EXPECT_LE(most, 3);
  EXPECT_GE(most, 2) << "they are there at the same time";
  EXPECT_TRUE(is_empty());
}

TEST_F(Permits, ComeBackWhenAHolderIsDead) {
  Permit dead(client, "job", 2, {.ttl = 400ms, .auto_renew = false});
  Permit alive(other, "job", 2, {.ttl = 300ms});
  const auto waiter = contender();
  EXPECT_TRUE(waiter->has_it());
  EXPECT_TRUE(alive.owns_lock());
  EXPECT_EQ(dead.unlock(), Unlock::lost);
}

TEST_F(Permits, AreGivenToAsManyAsThereAreRoomFor) {
  std::vector<Permit> all;
  for (int i = 0; i < 2; ++i) all.emplace_back(client, "job", 2, long_lease);
  const auto first = contender();
  ASSERT_TRUE(is_queued(1));
  const auto second = contender();
  ASSERT_TRUE(is_queued(2));
  const auto third = contender();
  ASSERT_TRUE(is_queued(3));
  all.clear();
  EXPECT_TRUE(first->has_it());
  EXPECT_TRUE(second->has_it());
  EXPECT_FALSE(third->held);
}

TEST_F(Permits, RefuseAnotherLimitThanThatOfTheHolders) {
  Permit permit(client, "job", 2, long_lease);
  Permit more(other, "job", 3, std::defer_lock, long_lease);
  for (const auto& attempt : {+[](Permit& one) { static_cast<void>(one.try_lock()); },
                              +[](Permit& one) { static_cast<void>(one.try_lock_for(1h)); },
                              +[](Permit& one) { one.lock(); }}) {
    const Error error = thrown_by([&] { attempt(more); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("limit of 2"), std::string::npos) << error.what();
  }
  EXPECT_EQ(queued(), 0);
  permit.unlock();
  EXPECT_TRUE(more.try_lock()) << "nobody holds one, so that it can be changed";
}

TEST_F(Permits, GoOnToQueueUpAfterALimitWasRefused) {
  Permit first(client, "job", 2, long_lease);
  Permit second(client, "job", 2, long_lease);
  EXPECT_EQ(error_of([&] { Permit(other, "job", 3, long_lease); }), Errc::invalid_argument);
  ContenderFor<Permit> waiter(std::move(other), [](Client& own) {
    return Permit(own, "job", 2, std::defer_lock, long_lease);
  });
  EXPECT_TRUE(is_queued(1));
  first.unlock();
  EXPECT_TRUE(waiter.has_it());
}

TEST_F(Permits, NeedALimitThatCanWork) {
  for (const std::int64_t limit : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'000'001}}) {
    const Error error = thrown_by([&] { Permit(client, "job", limit, std::defer_lock); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find(std::to_string(limit)), std::string::npos);
  }
}

TEST_F(Permits, HaveNoNumbers) {
  EXPECT_EQ(error_of([&] { Permit(client, "job", 2, {.fencing = true}); }), Errc::unsupported);
}

TEST_F(Permits, AreNotForAKeyOfAnotherClass) {
  {
    const ReadLock reading(client, "job", long_lease);
    EXPECT_EQ(error_of([&] { Permit(other, "job", 2, long_lease); }), Errc::wrong_type);
    EXPECT_EQ(error_of([&] { Recursive::make(other).lock(); }), Errc::wrong_type);
    EXPECT_EQ(error_of([&] { Lock(other, "job", long_lease); }), Errc::wrong_type);
  }
  const Lock lock(client, "job", long_lease);
  EXPECT_EQ(error_of([&] { Permit(other, "job", 2, long_lease); }), Errc::wrong_type);
}

/// What the README lists.
TEST_F(Permits, NeedTheseRights) {
  const std::vector<std::string> rights{"~job*",
                                        "&redlatch:*",
                                        "+eval",
                                        "+evalsha",
                                        "+time",
                                        "+zadd",
                                        "+zrem",
                                        "+zrange",
                                        "+zcard",
                                        "+zscore",
                                        "+zremrangebyscore",
                                        "+pttl",
                                        "+pexpire",
                                        "+lindex",
                                        "+llen",
                                        "+lpop",
                                        "+rpush",
                                        "+lpos",
                                        "+lset",
                                        "+lrange",
                                        "+lrem",
                                        "+publish",
                                        "+subscribe",
                                        "+script|load"};
  const auto user = [&](const std::string& without) {
    std::vector<std::string> words{"ACL", "SETUSER", "worker", "reset", "on", ">secret"};
    for (const std::string& right : rights) {
      if (right != without) words.push_back(right);
    }
    EXPECT_EQ(raw.command(words).text, "OK");
    return Client("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()),
                  less_patient());
  };
  {
    Client worker = user("");
    Permit first(worker, "job", 2, long_lease);
    Permit second(worker, "job", 2, long_lease);
    EXPECT_TRUE(first.verify());
    EXPECT_TRUE(first.extend());
    ContenderFor<Permit> waiter(std::move(worker), [](Client& own) {
      return Permit(own, "job", 2, std::defer_lock, long_lease);
    });
    ASSERT_TRUE(is_queued(1));
    EXPECT_EQ(first.unlock(), Unlock::released);
    EXPECT_TRUE(waiter.has_it());
  }
  ASSERT_TRUE(is_empty());
  for (const char* right : {"+zadd", "+zrange", "+zremrangebyscore", "+time", "+pexpire"}) {
    Client worker = user(right);
    EXPECT_EQ(error_of([&] { Permit(worker, "job", 2, std::try_to_lock, long_lease); }),
              Errc::not_permitted)
        << right;
  }
}

}  // namespace
}  // namespace redlatch::test
