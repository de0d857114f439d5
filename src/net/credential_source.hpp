#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>

#include "base/mutex.hpp"

namespace redlatch::detail {

template <class Result>
class DetachedCall;

/// Calls `ClientOptions::credentials` for each log-in. Programs may wait for a service in it, so it
/// runs on a thread of its own; one call at a time serves all connections that log in meanwhile.
class CredentialSource {
 public:
  explicit CredentialSource(std::function<Credentials()> function)
      : function_(std::move(function)) {}

  /// Throws `IoError` with what the function has thrown, or when it has not returned by `deadline`;
  /// `Cancelled` when `cancel` gets readable.
  Credentials get(TimePoint deadline, int cancel);

  // Around fork(2): the child has no call under way.
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_);

 private:
  const std::function<Credentials()> function_;

  Mutex mutex_{};  // the last to be taken: no other mutex is taken under it
  std::shared_ptr<DetachedCall<Credentials>> under_way_ REDLATCH_GUARDED_BY(mutex_){};
};

}  // namespace redlatch::detail
