#pragma once

#include <memory>
#include <string_view>

#include <redlatch/detail/export.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

namespace detail {
class Executor;
}

/// A server that holds locks, and the connections to it.
///
/// Connects when it is first used, and again by itself when a connection was lost. Threads may
/// share it. A forked child may use it too: it opens sockets of its own, and the parent's locks are
/// not its own. Locks keep what they need of it, so it may be destroyed before them; the last of
/// them to go waits at most `command_timeout` for releases that the server has not answered yet.
class REDLATCH_API Client {
 public:
  /// `redis://[user[:password]@]host[:port][/db]` or
  /// `unix://[user[:password]@]/path/to.sock[?db=N]`, with percent-encoding in user, password and
  /// path, and IPv6 addresses in brackets, with a zone as in `[fe80::1%25eth0]`. Connects to
  /// nothing yet. Throws `Errc::invalid_argument` for a URL or option that cannot work and names
  /// the part, and `Errc::unsupported` for `rediss://`, `redis-sentinel://` and `redis-cluster://`,
  /// which are not built.
  explicit Client(std::string_view url = "redis://127.0.0.1:6379", ClientOptions options = {});

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  /// A client that was moved from can only be destroyed or assigned to.
  Client(Client&&) noexcept = default;
  /// As the constructor.
  Client& operator=(Client&&) noexcept = default;
  ~Client() = default;

  /// Returns when the server has answered; throws `Error` when it cannot be used.
  void ping();

  /// What has happened to the locks of this client, in numbers. Any thread may ask at any time; the
  /// numbers are not of one and the same instant.
  Metrics metrics() const;

  /// For the library's own classes: what says their commands.
  const std::shared_ptr<detail::Executor>& executor() const noexcept { return executor_; }

 private:
  std::shared_ptr<detail::Executor> executor_;
};

}  // namespace redlatch
