#pragma once

#include <semaphore.h>

#include <atomic>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Lets one thread sleep until other threads post. Posts are counted, so a post before the wait is
/// not lost. A post is the last thing that a thread does with the baton of another thread, and the
/// owner takes every post before it destroys the baton: `Call` and `LocalWaiter` count them, under
/// the mutex that guards their state, for that. The woken thread may destroy the baton at once,
/// while `post` is still returning: POSIX promises that of a semaphore, and glibc keeps to it.
class Baton {
 public:
  Baton() noexcept { ::sem_init(&semaphore_, 0, 0); }
  Baton(const Baton&) = delete;
  Baton& operator=(const Baton&) = delete;
  ~Baton() { ::sem_destroy(&semaphore_); }

  /// Any thread may call it, with any mutex held; it never waits.
  void post() noexcept {
    posts_.fetch_add(1, std::memory_order_release);
    ::sem_post(&semaphore_);
  }
  /// Sleeps until there is a post, and takes it. False when there was none by `end`.
  bool wait_until(TimePoint end) noexcept;
  /// The same without a bound, for a post that is known to come.
  void wait() noexcept;

 private:
  /// Makes what a thread did before its post visible behind the wait. The semaphore does that as
  /// well, but the thread sanitizer does not know sem_clockwait.
  void see_posts() noexcept { static_cast<void>(posts_.load(std::memory_order_acquire)); }

  sem_t semaphore_{};
  std::atomic<int> posts_ = 0;
};

}  // namespace redlatch::detail
