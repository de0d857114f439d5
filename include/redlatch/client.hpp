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

/// A server that keeps locks, and the connections to it.
///
/// Connects at the first use, and again by itself after a connection was lost. Thread-safe: any
/// number of threads may share a client. A forked child may use it, too: it opens connections of
/// its own, and does not hold its parent's locks. A client may be destroyed before its locks, which
/// keep what they need of it; the destruction of the last of them waits at most `command_timeout`
/// for releases that the server has not answered yet.
class REDLATCH_API Client {
 public:
  /// `redis://[user[:password]@]host[:port][/db]`,
  /// `unix://[user[:password]@]/path/to.sock[?db=N]`,
  /// `redis-sentinel://[user[:password]@]host[:port][,host[:port]...][/db]#service` for the primary
  /// that Sentinels at these hosts know by this name, or
  /// `redis-cluster://[user[:password]@]host[:port][,host[:port]...]` for a cluster of which these
  /// are nodes; all but `unix` also with `rediss` for TLS. With percent-encoding in user, password,
  /// path and service, and IPv6 addresses in brackets, with a zone as in `[fe80::1%25eth0]`. Does
  /// not connect yet. Throws `Errc::invalid_argument` for a URL or an option that cannot work, and
  /// names the part. Throws `Errc::unsupported` for `rediss` where the library was built without
  /// OpenSSL.
  explicit Client(std::string_view url = "redis://127.0.0.1:6379", ClientOptions options = {});

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  /// A client that was moved from can only be destroyed or assigned to.
  Client(Client&&) noexcept = default;
  /// As the constructor.
  Client& operator=(Client&&) noexcept = default;
  ~Client() = default;

  /// Connects if need be, and returns when the server has answered. Throws `Error` if the server
  /// cannot be used.
  void ping();

  /// Counts of what has happened to the locks of this client. Any thread may call it at any time;
  /// the counts are not read at one and the same instant. No I/O.
  Metrics metrics() const;

  /// For the library's own classes: what sends their commands.
  const std::shared_ptr<detail::Executor>& executor() const noexcept { return executor_; }

 private:
  std::shared_ptr<detail::Executor> executor_;
};

}  // namespace redlatch
