#pragma once

#include <semaphore.h>

#include <atomic>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Lets one thread sleep until other threads post. The woken thread may destroy the baton at once,
/// while `post` is still returning: POSIX promises that of a semaphore, and glibc keeps to it.
class Baton {
 public:
  Baton() noexcept { ::sem_init(&semaphore_, 0, 0); }
  Baton(const Baton&) = delete;
  Baton& operator=(const Baton&) = delete;
  ~Baton() { ::sem_destroy(&semaphore_); }

  void post() noexcept {
    posts_.fetch_add(1, std::memory_order_release);
    ::sem_post(&semaphore_);
  }
  /// Sleeps until there is a post, and takes it. False when there was none by `end`.
  bool wait_until(TimePoint end) noexcept;
  void wait() noexcept;

 private:
  /// Makes what a thread did before its post visible behind the wait. The semaphore does that as
  /// well, but the thread sanitizer does not know sem_clockwait.
  void see_posts() noexcept { static_cast<void>(posts_.load(std::memory_order_acquire)); }

  sem_t semaphore_{};
  std::atomic<int> posts_ = 0;
};

}  // namespace redlatch::detail
