#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"

namespace redlatch::detail {

/// Which server each URL of a quorum leads to, by the id that it has until it restarts. Each server
/// has one voice: two of its databases, or two names of it, are no majority of three. All members
/// may be called by any thread.
class DistinctServers {
 public:
  /// By the names of the URLs.
  explicit DistinctServers(std::vector<std::string> names)
      : names_(std::move(names)), ids_(names_.size()) {}

  /// A connection was made. Throws `IoError` when another URL leads to the same server. An empty id
  /// is one that the server does not tell.
  void admit(std::size_t url, std::string_view id);
  /// Throws `Errc::invalid_argument` when two URLs led to one server when last connected.
  void require_distinct() const;

  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }

 private:
  bool are_same(std::size_t one, std::size_t other) const noexcept REDLATCH_REQUIRES(mutex_) {
    return !ids_[one].empty() && ids_[one] == ids_[other];
  }

  const std::vector<std::string> names_;
  std::atomic<bool> has_double_ = false;
  mutable Mutex mutex_{};
  std::vector<std::string> ids_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
