#pragma once

#include <condition_variable>
#include <mutex>

// What clang's -Wthread-safety checks, in `./dev lint`; nothing to other compilers.
#if defined(__clang__)
#define REDLATCH_THREAD_ANNOTATION(attribute) __attribute__((attribute))
#else
#define REDLATCH_THREAD_ANNOTATION(attribute)
#endif

#define REDLATCH_CAPABILITY(name) REDLATCH_THREAD_ANNOTATION(capability(name))
#define REDLATCH_SCOPED_CAPABILITY REDLATCH_THREAD_ANNOTATION(scoped_lockable)
/// A member that may be used only while the mutex is held.
#define REDLATCH_GUARDED_BY(mutex) REDLATCH_THREAD_ANNOTATION(guarded_by(mutex))
/// A function that is called with the mutex held, and returns with it held. It may release it
/// meanwhile, by `Unlocked`.
#define REDLATCH_REQUIRES(...) REDLATCH_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define REDLATCH_ACQUIRE(...) REDLATCH_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define REDLATCH_RELEASE(...) REDLATCH_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
/// A function that takes the mutex itself, so that its caller must not hold it.
#define REDLATCH_EXCLUDES(...) REDLATCH_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
/// A function whose result is another name for the mutex.
#define REDLATCH_RETURN_CAPABILITY(mutex) REDLATCH_THREAD_ANNOTATION(lock_returned(mutex))
/// A function that the analysis cannot follow; a comment there says why.
#define REDLATCH_NO_THREAD_SAFETY_ANALYSIS REDLATCH_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace redlatch::detail {

/// `std::mutex`, known to the analysis.
class REDLATCH_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() = default;

  void lock() REDLATCH_ACQUIRE() { mutex_.lock(); }
  void unlock() REDLATCH_RELEASE() { mutex_.unlock(); }
  /// Sleeps until the condition is notified, or for nothing; the mutex is released meanwhile.
  void wait(std::condition_variable& condition) REDLATCH_REQUIRES(this) {
    std::unique_lock lock(mutex_, std::adopt_lock);
    condition.wait(lock);
    static_cast<void>(lock.release());
  }

 private:
  std::mutex mutex_{};
};

/// Holds a mutex until the end of the scope, or until `unlock`.
class REDLATCH_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) REDLATCH_ACQUIRE(mutex) : lock_(mutex) {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() REDLATCH_RELEASE() = default;

  void lock() REDLATCH_ACQUIRE() { lock_.lock(); }
  void unlock() REDLATCH_RELEASE() { lock_.unlock(); }

 private:
  std::unique_lock<Mutex> lock_;
};

}  // namespace redlatch::detail
