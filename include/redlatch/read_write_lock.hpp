#pragma once

#include <string>
#include <utility>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace protocol {
class ReadSide;
class WriteSide;
}  // namespace protocol
extern template class REDLATCH_API AcquiringLock<protocol::ReadSide, Client, std::string>;
extern template class REDLATCH_API AcquiringLock<protocol::WriteSide, Client, std::string>;

/// One of any number of readers of a key that no writer holds, as `std::shared_lock` is of a
/// `std::shared_mutex`.
///
///     redlatch::ReadLock lock(client, "catalogue", {.ttl = 30s});
///
/// Readers and writers queue up in the order of arrival: a writer that waits holds back the readers
/// behind it, and is held back by those before it, so that neither side starves. Each reader has a
/// lease of its own, which ends by itself when it dies, whatever the others do. A waiter who was
/// killed may hold up those behind it for its ttl or 3 s, whichever is shorter.
///
/// A thread that reads must not wait to read once more by another object: a writer that has queued
/// up in between waits for the one, and the other for it. A bounded wait gets it out of that.
///
/// There is no single order of the readers that could be numbered: `fencing` is
/// `Errc::unsupported`. So is a client with `scripting` off. At the server the key is a sorted set
/// of the holders, by when their leases end. A key that holds something else is `Errc::wrong_type`.
///
/// The constructors are documented in possession.hpp, and everything else in basic_lock.hpp.
class ReadLock : public AcquiringLock<protocol::ReadSide, Client, std::string> {
 public:
  using AcquiringLock::AcquiringLock;

 private:
  friend class WriteLock;
  explicit ReadLock(detail::LockCore& writer);
};

/// The only holder of a key that may have readers at other times: see `ReadLock`. With `fencing`,
/// writers are numbered.
///
/// A thread that holds the read side, by an object of any client, would wait for itself: `lock()`
/// throws `std::errc::resource_deadlock_would_occur`, and `try_lock()` and bounded waits return
/// false at once. A reader that is not valid any more, and only not yet gone at the server, is
/// waited for instead; where the server's queue cannot be used, it counts as a reader until then.
/// With a ttl of the writer that is more than six times as long as that of the reader, it can take
/// a tenth of it and 1.1 s to tell the two apart.
/// Threads are told apart by where they acquired the read side. A thread that writes
/// and then waits to read by another object is not told; `downgrade()` is for that.
class WriteLock : public AcquiringLock<protocol::WriteSide, Client, std::string> {
 public:
  using AcquiringLock::AcquiringLock;

  /// Makes a reader of the writer in one step, with the same options except for fencing: no other
  /// writer gets in between, and readers who wait are let in. This object holds nothing afterwards.
  /// `durability` is not waited for once more, as renewals do not either. Throws `Error` when the
  /// server refuses, and the lock stays held; when it does not answer (`in_doubt()`), it is not.
  /// Throws `std::errc::operation_not_permitted` when this object does not hold the lock, or the
  /// server says that it is lost.
  [[nodiscard]] REDLATCH_API ReadLock downgrade();
};

}  // namespace redlatch
