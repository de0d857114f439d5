#pragma once

#include "base/mutex.hpp"

namespace redlatch::detail {

/// Releases a mutex that the caller holds until the end of the scope, however the scope ends: a
/// function that `REQUIRES` the mutex returns, and throws, with the mutex held.
class REDLATCH_SCOPED_CAPABILITY Unlocked {
 public:
  explicit Unlocked(Mutex& mutex) REDLATCH_RELEASE(mutex) : mutex_(mutex) { mutex_.unlock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() REDLATCH_RELEASE() { mutex_.lock(); }

 private:
  Mutex& mutex_;
};

}  // namespace redlatch::detail
