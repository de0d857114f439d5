#pragma once

#include <semaphore.h>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Lets one thread sleep until others post. POSIX has it that whoever was woken may destroy it at
/// once, and glibc keeps to that.
class Turn {
 public:
  Turn() noexcept { ::sem_init(&semaphore_, 0, 0); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { ::sem_destroy(&semaphore_); }

  void post() noexcept { ::sem_post(&semaphore_); }
  /// Takes one post. False when `end` was over first.
  bool wait_until(TimePoint end) noexcept;
  void wait() noexcept;

 private:
  sem_t semaphore_{};
};

}  // namespace redlatch::detail
