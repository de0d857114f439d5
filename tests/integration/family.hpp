#pragma once

#include <string>
#include <utility>

#include "contender.hpp"

namespace redlatch::test {

// How tests that are about all classes make one of each, so that it excludes the others of its
// kind.

struct Fair {
  using Kind = FairLock;
  static Kind make(Client& client, LockOptions options = long_lease) {
    return Kind(client, "job", std::defer_lock, std::move(options));
  }
  static constexpr const char* worker = "fair";
  static constexpr const char* type = "string";
};
struct Write {
  using Kind = WriteLock;
  static Kind make(Client& client, LockOptions options = long_lease) {
    return Kind(client, "job", std::defer_lock, std::move(options));
  }
  static constexpr const char* worker = "write";
  static constexpr const char* type = "zset";
};
/// Each time of another owner.
struct Recursive {
  using Kind = RecursiveLock;
  static Kind make(Client& client, LockOptions options = long_lease) {
    return Kind(client, "job", Owner{make_token()}, std::defer_lock, std::move(options));
  }
  static constexpr const char* worker = "recursive";
  static constexpr const char* type = "zset";
};
struct One {
  using Kind = Permit;
  static Kind make(Client& client, LockOptions options = long_lease) {
    return Kind(client, "job", 1, std::defer_lock, std::move(options));
  }
  static constexpr const char* worker = "permit";
  static constexpr const char* type = "zset";
};

/// A server where nobody holds "job" yet.
class FamilyTest : public ServerQueueTest {
 protected:
  FamilyTest() { holder.unlock(); }

  std::int64_t holders() { return raw.command({"ZCARD", "job"}).integer; }
};

}  // namespace redlatch::test
