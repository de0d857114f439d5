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

/// How a `Quorum` uses its servers. Its constructor checks the options, and throws
/// `Errc::invalid_argument` for values that cannot work.
struct QuorumOptions {
  /// For each of the servers. `on_event` receives the events of all of them.
  ClientOptions client{};
  /// How long the other servers wait for the reply of one, in milliseconds, connecting not counted.
  /// Choose it short compared to the ttl: when too few servers reply at once, the wait is taken
  /// from the validity of the lock.
  std::chrono::milliseconds server_timeout{50};
  /// The least time that a server must have been running to be asked, in milliseconds; 0: no
  /// minimum. A server that comes back without its data grants locks that it has granted before. So
  /// this should be the longest ttl in use, unless all servers write everything to their disk
  /// before they answer (`appendonly yes`, `appendfsync always`). Servers count in whole seconds,
  /// so that a server may be asked a second late; users with few rights need `+info`.
  std::chrono::milliseconds min_uptime{0};
};

/// Several independent servers, which are not replicas of each other: a lock is held when a
/// majority of them grants it. Use an odd number of servers, as an even number survives no more
/// failures than the odd number below it.
///
/// Connects at the first use, and again by itself. Thread-safe, and usable in a forked child. Locks
/// keep what they need of it, so it may be destroyed before them.
class REDLATCH_API Quorum {
 public:
  /// URLs as for a `Client`. Throws what `Client`'s constructor throws, and
  /// `Errc::invalid_argument` for no servers, or for a server that is named twice, also by two of
  /// its databases. Two names of one server are detected by `INFO server` when both are connected
  /// to, if the user has the right to it: acquisitions throw `Errc::invalid_argument` then.
  Quorum(std::initializer_list<std::string> urls, QuorumOptions options = {});
  /// As above, for URLs in a vector.
  explicit Quorum(const std::vector<std::string>& urls, QuorumOptions options = {});

  Quorum(const Quorum&) = delete;
  Quorum& operator=(const Quorum&) = delete;
  /// A quorum that was moved from can only be destroyed or assigned to.
  Quorum(Quorum&&) noexcept = default;
  /// As the constructor.
  Quorum& operator=(Quorum&&) noexcept = default;
  ~Quorum() = default;

  /// Counts as of `Client::metrics()`. A lock that was valid at the end of its scope counts as
  /// `released`, whatever the servers reply to its release.
  Metrics metrics() const;

  /// For the library's own classes: what sends their commands.
  const std::shared_ptr<detail::Executor>& executor() const noexcept { return executor_; }

 private:
  std::shared_ptr<detail::Executor> executor_;
};

}  // namespace redlatch
