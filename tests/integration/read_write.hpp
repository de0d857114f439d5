#pragma once

#include <cstdint>

#include "family.hpp"

namespace redlatch::test {

/// "job" with readers and writers, none of which holds it at first.
class ReadWriteTest : public QueueTest {
 protected:
  std::int64_t holders() { return raw.command({"ZCARD", "job"}).integer; }
  /// By another thread, as a thread that reads may not try to write.
  bool may_be_read() {
    return elsewhere([&] { return ReadLock(client, "job", std::try_to_lock).owns_lock(); });
  }
  bool may_be_written() {
    return elsewhere([&] { return WriteLock(client, "job", std::try_to_lock).owns_lock(); });
  }

  ReadLock reader{client, "job", std::defer_lock, long_lease};
  WriteLock writer{client, "job", std::defer_lock, long_lease};
};

}  // namespace redlatch::test
