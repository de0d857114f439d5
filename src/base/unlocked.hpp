#pragma once

#include "base/mutex.hpp"

namespace redlatch::detail {

/// Releases what holds a mutex, such as `std::unique_lock`, until the end of the scope.
template <class Lock>
class Unlocked {
 public:
  explicit Unlocked(Lock& lock) : lock_(lock) { lock_.unlock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() { lock_.lock(); }

 private:
  Lock& lock_;
};

/// Releases a mutex that the caller holds until the end of the scope, however the scope ends: a
/// function that `REQUIRES` the mutex returns, and throws, with the mutex held.
template <>
class REDLATCH_SCOPED_CAPABILITY Unlocked<Mutex> {
 public:
  explicit Unlocked(Mutex& mutex) REDLATCH_RELEASE(mutex) : mutex_(mutex) { mutex_.unlock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() REDLATCH_RELEASE() { mutex_.lock(); }

 private:
  Mutex& mutex_;
};

}  // namespace redlatch::detail
