#pragma once

#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include <redlatch/detail/export.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

namespace detail {
class Executor;
}

/// How a `Quorum` uses its servers. Checked by its constructor: `Errc::invalid_argument` for what
/// cannot work.
struct QuorumOptions {
  /// For each of the servers. `on_event` is told of all of them.
  ClientOptions client{};
  /// So long a server may take to answer, connecting not counted, before the others decide without
  /// it; in milliseconds. Short beside the ttl, as it is taken from the validity of what is
  /// acquired when too few answer at once.
  std::chrono::milliseconds server_timeout{50};
  /// Servers that have not been running for so long are not asked, in milliseconds; 0: all are. One
  /// that has come back without its data gives a lock away that it has granted before, so this
  /// should be the longest ttl in use, wherever servers do not write everything to their disk
  /// before they answer (`appendonly yes`, `appendfsync always`). The servers count in whole
  /// seconds, so that one may be let in a second late, and users with few rights need `+info`.
  std::chrono::milliseconds min_uptime{0};
};

/// Several servers that are independent of each other, not replicas: what a majority of them grants
/// is held. An odd number of them, since an even one bears the loss of no more than the odd one
/// below.
///
/// Connects when it is first used, and again by itself. Threads may share it, and a forked child
/// may use it. Locks keep what they need of it.
class REDLATCH_API Quorum {
 public:
  /// URLs as those of a `Client`. Throws what `Client`'s constructor does, and
  /// `Errc::invalid_argument` for no servers, or one that is named twice, also by two of its
  /// databases. Whether two names lead to one server is seen when they are connected to, by
  /// `INFO server`, unless the user has no right to it: acquisitions throw
  /// `Errc::invalid_argument` then.
  Quorum(std::initializer_list<std::string> urls, QuorumOptions options = {});
  /// The same for URLs that are not known before the program runs.
  explicit Quorum(const std::vector<std::string>& urls, QuorumOptions options = {});

  Quorum(const Quorum&) = delete;
  Quorum& operator=(const Quorum&) = delete;
  /// One that was moved from can only be destroyed or assigned to.
  Quorum(Quorum&&) noexcept = default;
  /// As the constructor.
  Quorum& operator=(Quorum&&) noexcept = default;
  ~Quorum() = default;

  /// As those of a `Client`. A guard that goes counts as `released` when it was valid, whatever the
  /// servers say to that.
  Metrics metrics() const;

  /// For the library's own classes: what says their commands.
  const std::shared_ptr<detail::Executor>& executor() const noexcept { return executor_; }

 private:
  std::shared_ptr<detail::Executor> executor_;
};

}  // namespace redlatch
