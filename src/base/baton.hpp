#pragma once

#include <semaphore.h>

#include <atomic>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Lets one thread sleep until others post. POSIX has it that whoever was woken may destroy it at
/// once, and glibc keeps to that.
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
  /// Takes one post. False when `end` was over first.
  bool wait_until(TimePoint end) noexcept;
  void wait() noexcept;

 private:
  /// What was done before a post has happened before what follows the wait. The semaphore sees to
  /// that as well, but the thread sanitizer does not know sem_clockwait.
  void see_posts() noexcept { static_cast<void>(posts_.load(std::memory_order_acquire)); }

  sem_t semaphore_{};
  std::atomic<int> posts_ = 0;
};

}  // namespace redlatch::detail
