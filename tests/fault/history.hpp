#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "incident.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {

enum class LockKind { lock, fair, read, write, permit, recursive, multi, redlock };

/// What one thread of each worker does again and again: it acquires, holds, and releases.
struct Role {
  const char* name;
  LockKind kind;
  std::size_t resource;        // what it locks, by number
  std::size_t resources = 1;   // a MultiLock also locks those behind it
  std::size_t key = resource;  // the number in its name, which a resource of each database may have
  int database = 0;
  int units = 1;  // how much of the capacity of each it takes
  std::chrono::milliseconds ttl{3000};
  std::chrono::milliseconds max_hold{300};
  bool renews = true;
  bool fences = false;
  int replicas = 0;         // `durability.replicas`
  bool may_starve = false;  // it is not in a queue with the others
  int threads = 1;          // of each worker
  std::chrono::milliseconds max_pause{10};
  const char* owner = "";  // of a RecursiveLock; empty: the thread
  /// Every few acquisitions have options of their own, and all leases are changed meanwhile. Then
  /// `ttl` and `max_hold` are usual maxima, and `fences` and `replicas` are options for some.
  bool varies = false;
};

/// A key, by its name or number; all of them are in one slot of a cluster.
std::string key_of(std::string_view name);
std::string key_of(std::size_t number);

/// How an attempt has ended, or a call without one.
enum class Outcome : std::uint8_t { waiting, held, missed, failed };
/// How a held lock has ended.
enum class End : std::uint8_t {
  still_held,
  released,
  unknown,
  left,         // its scope, without waiting for an answer
  lost,         // before its validity was over: the server did not have it
  lost_unseen,  // `unlock()` has said so
  ran_out       // it was not renewed in time
};

/// Readings of the end of one and the same validity differ by less than this, and those of another
/// one by more.
inline constexpr std::chrono::milliseconds reading_error{20};

/// Until when a lease is certain, give or take `reading_error`; when a worker has first seen that;
/// when it has last seen that it was not so yet, which for an acquisition is the end of the call;
/// and the ttl then.
struct Confirmation {
  Moment until;
  Moment after;
  Moment seen;
  std::chrono::milliseconds ttl;
};

/// One call that acquires, and what came of it. Workers write it to memory that outlives them, step
/// by step.
struct Attempt {
  std::uint16_t role;
  std::uint16_t worker;
  bool waits;       // for more than one try
  bool may_starve;  // as of the role, or since its client cannot queue up
  Outcome outcome;
  End end;
  std::array<char, 160> error;    // of a call that failed: the text, cut off, with a zero behind it
  Moment asked;                   // right before the call
  Moment answered;                // right behind it
  std::chrono::milliseconds ttl;  // the longest that it has asked for
  int replicas;                   // `durability.replicas`
  std::uint64_t owner;            // may hold it several times; 0: none
  std::chrono::milliseconds round_trip;  // to the server and back, at least
  // Of a lock that is held:
  std::uint64_t lease;    // a hash of its token
  std::uint64_t fence;    // its fencing token
  Moment claimed_until;   // the last moment at which it was certainly claimed
  Moment over;            // not claimed any more from here on
  std::size_t confirmed;  // how many there are
  std::array<Confirmation, 24> confirmations;

  std::span<const Confirmation> all_confirmations() const noexcept {
    return std::span(confirmations).first(confirmed);
  }
};

/// Where all workers write: memory that the processes share, and that outlives them. It takes what
/// is used of it.
class History {
 public:
  static constexpr std::size_t room = 200'000;

  History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;
  ~History();

  /// A new one; the last one again and again when there is no more room.
  Attempt& add() noexcept { return attempts_[std::min(shared_->next++, room - 1)]; }
  bool is_full() const noexcept { return shared_->next >= room; }
  /// Not while workers are at it.
  std::span<const Attempt> attempts() const noexcept {
    return {attempts_, std::min(shared_->next.load(), room)};
  }

  /// What workers and campaign tell each other.
  struct Shared {
    std::atomic<std::size_t> next = 0;
    std::atomic<std::uint64_t> acquired = 0;
    std::atomic<bool> over = false;
    std::atomic<std::size_t> address = 0;  // of the name that moves
  };
  Shared& shared() const noexcept { return *shared_; }

 private:
  SharedMemory<Shared> shared_{};
  Attempt* attempts_;
};

}  // namespace redlatch::test
