// A writer becomes a reader without letting another writer in.

#include <string>

#include "read_write.hpp"

namespace redlatch::test {
namespace downgrade_test {

class WriteLockDowngrade : public ReadWriteTest {};

TEST_F(WriteLockDowngrade, MakesAReaderOfTheWriter) {
  writer.lock();
  const std::string before = writer.token();
  ReadLock read = writer.downgrade();
  EXPECT_TRUE(read.verify());
  EXPECT_NE(read.token(), before);
  EXPECT_EQ(read.key(), "job");
  EXPECT_FALSE(writer.owns_lock());
  EXPECT_EQ(writer.unlock(), Unlock::lost);
  EXPECT_TRUE(may_be_read());
  EXPECT_FALSE(may_be_written());
  EXPECT_EQ(holders(), 1);
  EXPECT_EQ(read.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(WriteLockDowngrade, LetsReadersInWhoWaitAndNoWriter) {
  writer.lock();
  Rival<ReadLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  Rival<WriteLock> behind(another());
  ASSERT_TRUE(is_queued(2));
  ReadLock read = writer.downgrade();
  EXPECT_TRUE(waiting.has_it());
  EXPECT_EQ(holders(), 2);
  EXPECT_EQ(queued(), 1);
  EXPECT_FALSE(behind.held);
  waiting.ends();
  read.unlock();
  EXPECT_TRUE(behind.has_it());
}

TEST_F(WriteLockDowngrade, LetsNoWriterInBefore) {
  writer.lock();
  Rival<WriteLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  ReadLock read = writer.downgrade();
  EXPECT_EQ(queued(), 1);
  EXPECT_TRUE(read.verify());
  read.unlock();
  EXPECT_TRUE(waiting.has_it());
}

TEST_F(WriteLockDowngrade, IsRenewedOn) {
  WriteLock brief(client, "job", {.ttl = 2s, .fencing = true, .label = "me"});
  ReadLock read = brief.downgrade();
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= 1; }));
  EXPECT_TRUE(read.verify());
  EXPECT_TRUE(raw.command({"ZRANGE", "job", "0", "0"}).elements.at(0).text.ends_with(" me"));
  EXPECT_EQ(client.metrics().held, 1U);
  EXPECT_EQ(error_of([&] { static_cast<void>(read.fencing_token()); }), Errc::invalid_argument);
}

TEST_F(WriteLockDowngrade, IsForWhoHoldsTheLock) {
  EXPECT_EQ(error_of([&] { static_cast<void>(writer.downgrade()); }),
            std::errc::operation_not_permitted);
}

TEST_F(WriteLockDowngrade, OfALostLockThrowsAndLeavesNothingHeld) {
  writer.lock();
  const std::stop_token lost = writer.lost_token();
  raw.command({"DEL", "job"});
  EXPECT_EQ(error_of([&] { static_cast<void>(writer.downgrade()); }),
            std::errc::operation_not_permitted);
  EXPECT_FALSE(writer.owns_lock());
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(WriteLockDowngrade, ThatIsRefusedKeepsTheLock) {
  writer.lock();
  for (int i = 0; i < 2; ++i) {
    raw.command({"REPLICAOF", "127.0.0.1", "1"});
    const Error error = thrown_by([&] { static_cast<void>(writer.downgrade()); });
    EXPECT_EQ(error.code(), Errc::not_writable);
    EXPECT_TRUE(writer.owns_lock());
    raw.command({"REPLICAOF", "NO", "ONE"});
  }
}

TEST_F(WriteLockDowngrade, InDoubtLeavesNothingHeld) {
  ClientOptions hasty = patient();
  hasty.command_timeout = 500ms;
  Client other(server.url(), hasty);
  WriteLock lock(other, "job", {.ttl = 30s});
  server.pause();
  const Error error = thrown_by([&] { static_cast<void>(lock.downgrade()); });
  EXPECT_TRUE(error.in_doubt());
  EXPECT_FALSE(lock.owns_lock());
  server.resume();
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, 20s));
}

TEST_F(WriteLockDowngrade, CountsAsReadingForTheThread) {
  writer.lock();
  const ReadLock read = writer.downgrade();
  EXPECT_EQ(error_of([&] { writer.lock(); }), std::errc::resource_deadlock_would_occur);
}

}  // namespace downgrade_test
}  // namespace redlatch::test
