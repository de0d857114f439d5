// Many readers or one writer.

#include "read_write.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace read_write_test {

class ReadLockWriteLock : public ReadWriteTest {};

TEST_F(ReadLockWriteLock, HasManyReadersAtOnce) {
  std::vector<Client> clients;
  std::vector<ReadLock> readers;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(another());
    readers.emplace_back(clients.back(), "job", std::try_to_lock, long_lease);
    EXPECT_TRUE(readers.back().owns_lock());
  }
  EXPECT_EQ(holders(), 10);
  EXPECT_FALSE(may_be_written());
  readers.clear();
  clients.clear();
  EXPECT_TRUE(eventually([&] { return may_be_written(); }));
}

TEST_F(ReadLockWriteLock, HasOneWriterAndNoReadersThen) {
  writer.lock();
  EXPECT_FALSE(may_be_written());
  EXPECT_FALSE(may_be_read());
  writer.unlock();
  EXPECT_TRUE(may_be_read());
}

TEST_F(ReadLockWriteLock, HoldsNewReadersBackWhileAWriterWaits) {
  reader.lock();
  EXPECT_TRUE(may_be_read());
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  EXPECT_FALSE(may_be_read());
  Rival<ReadLock> behind(another());
  ASSERT_TRUE(is_queued(2));
  reader.unlock();
  ASSERT_TRUE(waiting.has_it());
  EXPECT_FALSE(behind.held);
  EXPECT_EQ(holders(), 1);
  waiting.ends();
  EXPECT_TRUE(behind.has_it());
}

TEST_F(ReadLockWriteLock, LetsAWriterInBehindTheLastReaderOnly) {
  std::optional<ReadLock> second(std::in_place, client, "job", long_lease);
  reader.lock();
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  reader.unlock();
  EXPECT_EQ(queued(), 1);
  EXPECT_FALSE(waiting.held);
  second.reset();
  EXPECT_TRUE(waiting.has_it());
}

TEST_F(ReadLockWriteLock, LetsAllReadersInThatWaitAtTheHeadOfTheQueue) {
  writer.lock();
  Rival<ReadLock> first(another());
  ASSERT_TRUE(is_queued(1));
  Rival<ReadLock> second(another());
  ASSERT_TRUE(is_queued(2));
  Rival<WriteLock> next(another());
  ASSERT_TRUE(is_queued(3));
  Rival<ReadLock> last(another());
  ASSERT_TRUE(is_queued(4));
  writer.unlock();
  EXPECT_TRUE(first.has_it() && second.has_it());
  EXPECT_EQ(queued(), 2);
  first.ends();
  second.ends();
  EXPECT_TRUE(next.has_it());
  EXPECT_FALSE(last.held);
  next.ends();
  EXPECT_TRUE(last.has_it());
}

TEST_F(ReadLockWriteLock, LetsReadersInWhenTheWriterBeforeThemIsCancelled) {
  reader.lock();
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  Rival<ReadLock> behind(another());
  ASSERT_TRUE(is_queued(2));
  waiting.cancel();
  EXPECT_TRUE(behind.has_it());
  EXPECT_EQ(holders(), 2);
}

TEST_F(ReadLockWriteLock, LetsReadersInWhenTheTimeOfTheWriterBeforeThemIsOver) {
  reader.lock();
  std::atomic<bool> got_it = false;
  std::jthread waiting([&, own = another()]() mutable {
    got_it = WriteLock(own, "job", 500ms, long_lease).owns_lock();
  });
  Rival<ReadLock> behind(another());
  EXPECT_TRUE(behind.has_it());
  waiting.join();
  EXPECT_FALSE(got_it);
  EXPECT_EQ(holders(), 2);
}

TEST_F(ReadLockWriteLock, LetsReadersInWhenTheWriterBeforeThemWasKilled) {
  const SharedMemory<std::atomic<bool>> is_held;
  Child waiting([&] {
    Client own(server.url(), patient());
    eventually([&] { return is_held->load(); }, 60s);
    const WriteLock lock(own, "job", long_lease);
  });
  reader.lock();
  *is_held = true;
  ASSERT_TRUE(is_queued(1));
  Rival<ReadLock> behind(another());
  ASSERT_TRUE(is_queued(2));
  waiting.kill();
  EXPECT_TRUE(behind.has_it()) << "within 3 s";
}

TEST_F(ReadLockWriteLock, EndsADeadReadersLeaseByItselfWhateverTheOthersDo) {
  ReadLock dead(client, "job", {.ttl = 1s, .auto_renew = false});
  const std::string value = raw.command({"ZRANGE", "job", "0", "0"}).elements.at(0).text;
  ReadLock alive(client, "job", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return !dead.owns_lock(); }));
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  EXPECT_TRUE(eventually([&] { return raw.command({"ZSCORE", "job", value}).nil; }));
  EXPECT_FALSE(waiting.held);
  EXPECT_TRUE(alive.verify());
  EXPECT_EQ(alive.unlock(), Unlock::released);
  EXPECT_TRUE(waiting.has_it());
}

TEST_F(ReadLockWriteLock, LetsAWriterInWhenTheLastReaderHasDied) {
  const ReadLock dead =
      in_time([&] { return ReadLock(client, "job", {.ttl = 300ms, .auto_renew = false}); });
  Rival<WriteLock> waiting(another());
  EXPECT_TRUE(waiting.has_it());
}

TEST_F(ReadLockWriteLock, StarvesNeitherSide) {
  std::array<std::atomic<int>, 6> turns{};
  std::atomic<int> readers = 0;
  std::atomic<int> read = 0;
  std::atomic<int> writers = 0;
  std::atomic<bool> over = false;
  std::atomic<bool> overlap = false;
  const auto reads = [&](std::atomic<int>& done) {
    Client own = another();
    for (; !over; ++done) {
      const ReadLock lock(own, "job", long_lease);
      ++readers;
      if (writers > 0) overlap = true;
      // Were there no queue, some reader would always be in: each stays until another has come. A
      // writer that waits keeps the others out, so that this has an end.
      const int mine = ++read;
      eventually([&] { return read > mine; }, 1ms);
      --readers;
    }
  };
  const auto writes = [&](std::atomic<int>& done) {
    Client own = another();
    for (; !over; ++done) {
      const WriteLock lock(own, "job", long_lease);
      if (++writers > 1 || readers > 0) overlap = true;
      --writers;
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    threads.emplace_back([&, i] { i < 4 ? reads(turns.at(i)) : writes(turns.at(i)); });
  }
  const auto has_had_enough = [](const std::atomic<int>& done) { return done >= 30; };
  EXPECT_TRUE(
      eventually([&] { return std::all_of(turns.begin(), turns.end(), has_had_enough); }, 60s));
  over = true;
  threads.clear();
  EXPECT_FALSE(overlap);
  EXPECT_TRUE(is_empty());
}

class ReadLockDeadlock : public ReadLockWriteLock {
 protected:
  static constexpr std::errc expected = std::errc::resource_deadlock_would_occur;

  /// Released here, and held at the server for this time. Returns the member at the server.
  std::string leave_reader_behind(std::chrono::milliseconds rest) {
    reader.lock();
    std::string member = raw.command({"ZRANGE", "job", "0", "0"}).elements.at(0).text;
    EXPECT_EQ(reader.unlock(), Unlock::released);
    const std::vector<RawReply> time = raw.command({"TIME"}).elements;
    const long long now = std::stoll(time.at(0).text) * 1000 + std::stoll(time.at(1).text) / 1000;
    raw.command({"ZADD", "job", std::to_string(now + rest.count()), member});
    return member;
  }
};

TEST_F(ReadLockDeadlock, IsToldToAWriterWhoseThreadReads) {
  reader.lock();
  EXPECT_EQ(error_of([&] { writer.lock(); }), expected);
  EXPECT_EQ(error_of([&] { static_cast<void>(writer.lock(std::stop_token())); }), expected);
  EXPECT_FALSE(writer.try_lock());
  EXPECT_TRUE(is_queued(0));
  EXPECT_TRUE(reader.verify());
}

TEST_F(ReadLockDeadlock, EndsABoundedWaitAtOnce) {
  reader.lock();
  const auto time = duration_of([&] { EXPECT_FALSE(writer.try_lock_for(10min)); });
  EXPECT_LT(time, 5min);
  EXPECT_TRUE(is_queued(0));
}

TEST_F(ReadLockDeadlock, IsSeenWhenTheReaderIsOfAnotherClient) {
  reader.lock();
  Client other = another();
  EXPECT_EQ(error_of([&] { const WriteLock lock(other, "job"); }), expected);
}

TEST_F(ReadLockDeadlock, IsSeenAmongManyReadersAndBehindAWriterThatWaits) {
  Client other = another();
  std::vector<ReadLock> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(elsewhere([&] { return ReadLock(other, "job", long_lease); }));
  }
  reader.lock();
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  EXPECT_EQ(error_of([&] { writer.lock(); }), expected);
  EXPECT_EQ(queued(), 1);
}

TEST_F(ReadLockDeadlock, IsNoneForAnotherThread) {
  reader.lock();
  EXPECT_FALSE(elsewhere([&] { return writer.try_lock_for(20ms); }));
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  reader.unlock();
  EXPECT_TRUE(waiting.has_it());
}

TEST_F(ReadLockDeadlock, IsNoneOnceAnotherThreadHasUnlocked) {
  reader.lock();
  elsewhere([&] { return reader.unlock(); });
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

TEST_F(ReadLockDeadlock, IsNoneOnceTheReadersLeaseIsOver) {
  const ReadLock brief =
      in_time([&] { return ReadLock(client, "job", {.ttl = 50ms, .auto_renew = false}); });
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

/// The server has it for a little longer: 182 ms of 3 s.
TEST_F(ReadLockDeadlock, IsNoneOnceTheReaderIsNotValidAnyMore) {
  for (const auto ttl : {2s, 60s}) {
    const ReadLock brief(client, "job", {.ttl = 3s, .auto_renew = false});
    WriteLock next(client, "job", std::defer_lock, {.ttl = ttl});
    EXPECT_TRUE(eventually([&] { return !brief.owns_lock(); }));
    next.lock();
    EXPECT_TRUE(next.owns_lock());
  }
}

TEST_F(ReadLockDeadlock, IsSeenWhenTheReaderHasAMuchShorterTtl) {
  const ReadLock renewed(client, "job", {.ttl = 1200ms});
  WriteLock next(client, "job", std::defer_lock, {.ttl = 20s});
  EXPECT_EQ(error_of([&] { next.lock(); }), expected);
  EXPECT_TRUE(is_queued(0));
  EXPECT_TRUE(renewed.owns_lock());
}

/// As after an outage, when the release is repeated in the background.
TEST_F(ReadLockDeadlock, IsNoneWhileTheReleaseOfTheReadLockIsStillToCome) {
  leave_reader_behind(700ms);
  WriteLock next(client, "job", std::defer_lock, {.ttl = 2s});
  next.lock();
  EXPECT_TRUE(next.owns_lock());
}

/// The release of the own reader was lost with a failover.
TEST_F(ReadLockDeadlock, IsNoneWhileOnlyAnotherThreadOfTheClientReads) {
  const std::string member = leave_reader_behind(1h);
  std::optional<ReadLock> other(elsewhere([&] { return ReadLock(client, "job", long_lease); }));
  const std::jthread watcher([&] {
    EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
    other.reset();
    raw.command({"ZREM", "job", member});
  });
  WriteLock next(client, "job", std::defer_lock, {.ttl = 2s});
  next.lock();
  EXPECT_TRUE(next.owns_lock());
}

/// There, its key has the same name.
TEST_F(ReadLockDeadlock, IsNoneWhileTheThreadReadsAtAnotherServer) {
  const RedisServer second;
  Client there(second.url(), patient());
  const ReadLock reads(there, "job", long_lease);
  leave_reader_behind(700ms);
  WriteLock next(client, "job", std::defer_lock, {.ttl = 2s});
  next.lock();
  EXPECT_TRUE(next.owns_lock());
  EXPECT_TRUE(reads.owns_lock());
}

/// A reader that the server has for no longer than a lost lease can last is waited for in the
/// queue.
TEST_F(ReadLockDeadlock, IsNoneForAWriterThatIsQueuedUntilThen) {
  const std::string member = leave_reader_behind(5s);
  WriteLock next(client, "job", std::defer_lock, long_lease);
  const std::jthread watcher([&] {
    EXPECT_TRUE(is_queued(1));
    raw.command({"ZREM", "job", member});
  });
  next.lock();
  EXPECT_TRUE(next.owns_lock());
}

/// The server of a test has not heard of the script that releases.
TEST_F(ReadLockDeadlock, IsNoneRightBehindAReaderThatWentOutOfScope) {
  { const ReadLock gone(client, "job"); }
  writer.lock();
  EXPECT_EQ(writer.unlock(), Unlock::released);
  for (int i = 0; i < 10; ++i) {
    raw.command({"SCRIPT", "FLUSH"});
    { const ReadLock gone(client, "job"); }
    EXPECT_TRUE(writer.try_lock_for(20s));
    EXPECT_EQ(writer.unlock(), Unlock::released);
  }
}

}  // namespace read_write_test
}  // namespace redlatch::test
