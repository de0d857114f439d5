#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  /// is one that the server does not tell: the URL keeps the one that is known.
  void admit(std::size_t url, std::string_view id);
  /// Throws `Errc::invalid_argument` when two URLs led to one server when last connected.
  void require_distinct() const;

  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() noexcept { mutex_.unlock(); }

 private:
  bool are_same(std::size_t one, std::size_t other) const noexcept {
    return !ids_[one].empty() && ids_[one] == ids_[other];
  }

  const std::vector<std::string> names_;
  mutable std::mutex mutex_{};
  std::vector<std::string> ids_;
  std::atomic<bool> has_double_ = false;
};

}  // namespace redlatch::detail
