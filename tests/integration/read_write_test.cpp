// ReadLock and WriteLock: many readers or one writer, in the order of arrival.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <redlatch/protocol/read_write.hpp>

#include "family.hpp"

namespace redlatch::test {
namespace {

class ReadWrite : public FamilyTest {
 protected:
  ReadLock read(Client& whose, LockOptions options = long_lease) {
    return ReadLock(whose, "job", std::defer_lock, std::move(options));
  }
  std::unique_ptr<ContenderFor<ReadLock>> reader(const LockOptions& options = long_lease) {
    return std::make_unique<ContenderFor<ReadLock>>(
        another(), [&](Client& own) { return read(own, options); });
  }
  std::unique_ptr<ContenderFor<WriteLock>> writer() {
    return std::make_unique<ContenderFor<WriteLock>>(another(),
                                                     [](Client& own) { return Write::make(own); });
  }
  /// In a thread of its own, since this one must not wait for itself.
  template <class Action>
  static void elsewhere(Action action) {
    std::jthread(action).join();
  }

  Client other = another();
};

TEST_F(ReadWrite, HasManyReaders) {
  std::vector<ReadLock> readers;
  for (int i = 0; i < 20; ++i) readers.emplace_back(i % 2 == 0 ? client : other, "job", long_lease);
  for (const ReadLock& reader : readers) EXPECT_TRUE(reader.owns_lock());
  EXPECT_EQ(holders(), 20);
  elsewhere([&] { EXPECT_FALSE(WriteLock(other, "job", std::try_to_lock, long_lease)); });
}

TEST_F(ReadWrite, HasNoReaderBesideAWriter) {
  WriteLock lock(client, "job", long_lease);
  elsewhere([&] {
    EXPECT_FALSE(ReadLock(other, "job", std::try_to_lock, long_lease));
    EXPECT_FALSE(WriteLock(other, "job", std::try_to_lock, long_lease));
  });
}

TEST_F(ReadWrite, LetsAWriterThatWaitsHoldBackNewReaders) {
  ReadLock first(client, "job", long_lease);
  const auto writing = writer();
  ASSERT_TRUE(is_queued(1));
  EXPECT_FALSE(ReadLock(other, "job", std::try_to_lock, long_lease));
  const auto late = reader();
  ASSERT_TRUE(is_queued(2));
  first.unlock();
  ASSERT_TRUE(writing->has_it());
  EXPECT_FALSE(late->held);
  writing->ends();
  EXPECT_TRUE(late->has_it());
}

TEST_F(ReadWrite, LetsAllReadersInWhoAreFirst) {
  WriteLock lock(client, "job", long_lease);
  const auto first = reader();
  ASSERT_TRUE(is_queued(1));
  const auto second = reader();
  ASSERT_TRUE(is_queued(2));
  const auto writing = writer();
  ASSERT_TRUE(is_queued(3));
  const auto last = reader();
  ASSERT_TRUE(is_queued(4));
  lock.unlock();
  EXPECT_TRUE(first->has_it());
  EXPECT_TRUE(second->has_it());
  EXPECT_FALSE(writing->held);
  EXPECT_FALSE(last->held);
  first->ends();
  EXPECT_FALSE(writing->held);
  second->ends();
  EXPECT_TRUE(writing->has_it());
}

TEST_F(ReadWrite, LetsReadersInWhenTheWriterBeforeThemGivesUp) {
  ReadLock first(client, "job", long_lease);
  const auto writing = writer();
  ASSERT_TRUE(is_queued(1));
  const auto second = reader();
  ASSERT_TRUE(is_queued(2));
  writing->cancel();
  EXPECT_TRUE(writing->is_cancelled());
  EXPECT_TRUE(second->has_it());
}

TEST_F(ReadWrite, LetsReadersInWhenTheTimeOfTheWriterBeforeThemIsOver) {
  ReadLock first(client, "job", long_lease);
  std::jthread thread([&] { EXPECT_FALSE(WriteLock(other, "job", 200ms, long_lease)); });
  ASSERT_TRUE(is_queued(1));
  const auto second = reader();
  EXPECT_TRUE(second->has_it());
}

/// The key as a whole lives on, renewed by the others.
TEST_F(ReadWrite, LetsADeadReaderOnlyLiveAsLongAsItsOwnLease) {
  ReadLock dead(client, "job", {.ttl = 400ms, .auto_renew = false});
  std::optional<ReadLock> alive(std::in_place, other, "job", LockOptions{.ttl = 300ms});
  ASSERT_TRUE(eventually([&] { return other.metrics().renewed >= 4; }));
  alive.reset();
  const auto writing = writer();
  EXPECT_TRUE(writing->has_it());
  EXPECT_EQ(dead.unlock(), Unlock::lost);
}

TEST_F(ReadWrite, StarvesNeitherSide) {
  std::atomic<int> reads = 0;
  std::atomic<int> writes = 0;
  std::atomic<bool> over = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      Client own = another();
      while (!over) {
        if (i < 4) {
          const ReadLock lock(own, "job", long_lease);
          ++reads;
        } else {
          const WriteLock lock(own, "job", long_lease);
          ++writes;
        }
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return reads > 200 && writes > 200; }, 60s));
  over = true;
}

TEST_F(ReadWrite, NeverHasAWriterBesideAnybody) {
  std::atomic<int> readers = 0;
  std::atomic<int> writers = 0;
  std::atomic<bool> overlapped = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      Client own = another();
      for (int round = 0; round < 60; ++round) {
        if (i < 4) {
          const ReadLock lock(own, "job", long_lease);
          ++readers;
          if (writers != 0) overlapped = true;
          --readers;
        } else {
          const WriteLock lock(own, "job", long_lease);
          if (++writers != 1 || readers != 0) overlapped = true;
          --writers;
        }
      }
    });
  }
  threads.clear();
  EXPECT_FALSE(overlapped);
}

TEST_F(ReadWrite, RefusesToWaitForItsOwnThread) {
  ReadLock reading(client, "job", long_lease);
  WriteLock writing(other, "job", std::defer_lock, long_lease);
  EXPECT_FALSE(writing.try_lock());
  EXPECT_FALSE(writing.try_lock_for(1h));
  EXPECT_EQ(error_of([&] { writing.lock(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(queued(), 0);
  reading.unlock();
  EXPECT_TRUE(writing.try_lock());
}

TEST_F(ReadWrite, WaitsForAReaderThatAnotherThreadHasReleased) {
  ReadLock reading(client, "job", long_lease);
  ReadLock second(client, "job", std::defer_lock, long_lease);
  elsewhere([&] {
    reading.unlock();
    second.lock();
  });
  std::jthread later([&] {
    ASSERT_TRUE(is_queued(1));
    second.unlock();
  });
  WriteLock writing(other, "job", std::defer_lock, long_lease);
  writing.lock();
  EXPECT_TRUE(writing.owns_lock());
}

TEST_F(ReadWrite, DowngradesWithoutLettingAWriterIn) {
  WriteLock writing(client, "job", {.ttl = 60s, .fencing = true});
  const auto next = writer();
  ASSERT_TRUE(is_queued(1));
  ReadLock reading = writing.downgrade();
  EXPECT_FALSE(writing.owns_lock());
  EXPECT_EQ(writing.unlock(), Unlock::lost);
  EXPECT_TRUE(reading.owns_lock());
  EXPECT_TRUE(reading.verify());
  EXPECT_FALSE(next->held);
  EXPECT_EQ(reading.unlock(), Unlock::released);
  EXPECT_TRUE(next->has_it());
}

TEST_F(ReadWrite, LetsReadersInWhenAWriterIsDowngraded) {
  WriteLock writing(client, "job", long_lease);
  const auto next = reader();
  ASSERT_TRUE(is_queued(1));
  const ReadLock reading = writing.downgrade();
  EXPECT_TRUE(next->has_it());
  EXPECT_TRUE(reading.owns_lock());
}

TEST_F(ReadWrite, RenewsWhatWasDowngraded) {
  WriteLock writing(client, "job", {.ttl = 300ms});
  ReadLock reading = writing.downgrade();
  const auto before = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= before + 4; }));
  EXPECT_TRUE(reading.verify());
  EXPECT_EQ(client.metrics().held, 1U);
}

TEST_F(ReadWrite, KeepsAWriterThatCannotBeDowngraded) {
  WriteLock writing(client, "job", long_lease);
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_EQ(error_of([&] { static_cast<void>(writing.downgrade()); }), Errc::not_writable);
  raw.command({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(writing.owns_lock());
  EXPECT_EQ(writing.unlock(), Unlock::released);
}

TEST_F(ReadWrite, SaysThatALostWriterCannotBeDowngraded) {
  WriteLock writing(client, "job", long_lease);
  raw.command({"DEL", "job"});
  EXPECT_ANY_THROW(static_cast<void>(writing.downgrade()));
  EXPECT_FALSE(writing.owns_lock());
  EXPECT_FALSE(raw.exists("job"));
  EXPECT_EQ(error_of([&] { static_cast<void>(writing.downgrade()); }),
            std::errc::operation_not_permitted);
}

TEST_F(ReadWrite, NumbersWriters) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  WriteLock lock(client, "job", fenced);
  const std::uint64_t first = lock.fencing_token();
  EXPECT_GT(first, 0U);
  ContenderFor<WriteLock> next(another(), [&](Client& own) { return Write::make(own, fenced); });
  ASSERT_TRUE(is_queued(1));
  lock.unlock();
  ASSERT_TRUE(next.has_it());
  EXPECT_GT(next.lock.fencing_token(), first);
}

TEST_F(ReadWrite, NumbersNoReaders) {
  EXPECT_EQ(error_of([&] { ReadLock(client, "job", {.fencing = true}); }), Errc::unsupported);
}

TEST_F(ReadWrite, UsesScriptsByTheHashThatTheServerHas) {
  for (const protocol::Script* script :
       {&protocol::acquire_shared_script, &protocol::extend_shared_script,
        &protocol::release_shared_script, &protocol::stand_shared_script,
        &protocol::leave_shared_script, &protocol::life_shared_script,
        &protocol::downgrade_script}) {
    EXPECT_EQ(raw.command({"SCRIPT", "LOAD", std::string(script->text)}).text, script->sha1);
  }
}

}  // namespace
}  // namespace redlatch::test
