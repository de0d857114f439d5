#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"

namespace redlatch::detail {

/// The server that each URL of a quorum leads to, by the id that the server has until it restarts.
/// Each server has one vote: two of its databases, or two of its names, are no majority of three.
/// Any thread may call any member. The mutex guards the ids; no other is taken under it.
class DistinctServers {
 public:
  /// `names`: of the URLs, for errors.
  explicit DistinctServers(std::vector<std::string> names)
      : names_(std::move(names)), ids_(names_.size()) {}

  /// A connection of the URL has reached the server with this id. Throws `IoError` when another URL
  /// leads to the same server. An empty id, where the server does not send it, keeps the last one.
  void admit(std::size_t url, std::string_view id);
  /// Throws `Errc::invalid_argument` when the last connections of two URLs led to one server.
  void require_distinct() const;

  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }

 private:
  bool are_same(std::size_t one, std::size_t other) const noexcept REDLATCH_REQUIRES(mutex_) {
    return !ids_[one].empty() && ids_[one] == ids_[other];
  }

  const std::vector<std::string> names_;
  std::atomic<bool> has_double_ = false;  // so that `require_distinct` mostly needs no mutex
  mutable Mutex mutex_{};
  std::vector<std::string> ids_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
