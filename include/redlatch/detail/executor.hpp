#pragma once

#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

class Waiter;
class LeasePtr;

/// A release by token, which undoes an acquisition or ends a lease, and cannot touch another
/// holder. It is repeated until the server has answered it, or for `ttl`, when the lease is over
/// anyway.
struct CleanupRelease {
  /// Why it is sent, which decides the event that reports its outcome.
  enum class Reason {
    doubt,        // an acquisition may have succeeded: no event
    lease,        // a valid lease ends: `released`, `lost` or `release_unknown`
    ended_lease,  // a lease ends that is not valid any more: `lost`
    notified      // a lease ends whose loss was announced: no event
  };

  protocol::Command command;
  std::chrono::milliseconds ttl;
  Reason of = Reason::doubt;
  TimePoint since{};  // when the lease was acquired, if it was
};

/// The maximum number of commands in a request.
constexpr std::size_t max_commands = 4;

/// A request to one server: commands in one batch, about one key.
struct Request {
  std::string_view key;
  std::span<const protocol::Command> commands;
  /// Sent in the background if the server may have carried the commands out and a reply is missing.
  const CleanupRelease* cleanup = nullptr;
  /// How long the last command, a WAIT or WAITAOF with this time as its last argument, may block
  /// the connection, on top of `command_timeout`. Requests with the same one may be joined. They
  /// use connections of their own.
  std::chrono::milliseconds blocks{0};
};

/// The replies to one request, in order, without memory from the heap.
class Replies {
 public:
  void push_back(protocol::Reply reply) noexcept {
    assert(size_ < max_commands);
    all_[size_++] = std::move(reply);
  }
  void clear() noexcept { size_ = 0; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  protocol::Reply& operator[](std::size_t i) noexcept { return all_[i]; }
  const protocol::Reply& operator[](std::size_t i) const noexcept { return all_[i]; }
  const protocol::Reply& front() const noexcept { return all_.front(); }

 private:
  std::array<protocol::Reply, max_commands> all_{};
  std::size_t size_ = 0;
};

/// The reply of one server to a request.
struct Response {
  /// One for each command, in order; fewer if `failure` is set, none if it has not answered yet.
  Replies replies{};
  std::optional<Error> failure{};
  /// When the request was sent, from before the first byte, also without a reply; `TimePoint{}` if
  /// it was not.
  TimePoint sent{};
  /// The number of the connection that it was sent on, unique in the process. 0: not known.
  std::uint64_t connection = 0;
  /// A WAIT that others share was shorter than the time that the request has: it may be sent again.
  bool cut_short = false;
};

/// Whether a call may connect if there is no connection.
enum class ConnectPolicy {
  separate_timeout,  // yes, and `command_timeout` begins when it is connected
  within_timeout,    // yes, within `command_timeout`
  never
};

/// How the waiters of one client for one key queue. `with_others`: behind each other, and only the
/// first talks to the server. `alone`: each by itself, so that each has its own entry in the
/// server's queue, in the order of arrival.
enum class QueueMode { with_others, alone };

/// What a lock sees of the world: it sends commands, keeps leases, queues waiters and has the time.
/// In the product it is a client or a quorum, in unit tests a fake without sockets. Any thread may
/// call any member.
class Executor {
 public:
  /// Whether the replies received so far suffice.
  using Enough = bool (*)(std::span<const Response>);

  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;

  virtual std::size_t servers() const noexcept = 0;
  virtual std::string server(std::size_t index) const = 0;
  /// Whether scripts may be sent.
  virtual bool scripting() const noexcept = 0;

  /// Sends `requests[i]` to server i, all at once, and returns when `enough` holds, when all
  /// servers have answered or failed, or when `command_timeout` is over.
  virtual void execute(std::span<const Request> requests, std::span<Response> responses,
                       Enough enough, ConnectPolicy policy) = 0;

  /// Sends `cleanup` to every server and does not wait for the replies: at once, behind all
  /// commands about the key, if there is a connection, else in the background. Waits only for a
  /// server that takes the release in a transaction only.
  virtual void post(std::string_view key, const CleanupRelease& cleanup) noexcept = 0;

  /// An unused lease for the key. Throws `Error` if no thread can be had to renew it.
  virtual Lease& open_lease(std::string_view key) = 0;
  /// Takes the lease back, which ends here.
  virtual void close_lease(Lease& lease) noexcept = 0;
  /// The background renews the lease by its schedule from now on, and announces its loss in time.
  virtual void keep(Lease& lease) noexcept = 0;
  /// No renewals until `keep`; a loss is still announced.
  virtual void suspend(Lease& lease) noexcept = 0;
  /// The lock manages the lease again: no renewal is sent once this has returned. The reply to one
  /// that is in flight still counts.
  virtual void pause_renewal(Lease& lease) noexcept = 0;
  /// As `pause_renewal`, and replies to renewals in flight do not count any more. True if the loss
  /// of the lease was announced.
  virtual bool detach(Lease& lease) noexcept = 0;
  virtual std::stop_token lost_token(Lease& lease) = 0;

  /// Counts an event, and queues it for `ClientOptions::on_event`.
  virtual void record_event(EventKind kind, std::string_view key, TimePoint since,
                            std::error_code error) noexcept = 0;
  /// A waiter for the key, behind those of this process or by itself. `key` and `wanted` have to
  /// outlive it.
  virtual std::unique_ptr<Waiter> enter_queue(std::string_view key, const LockOptions& wanted,
                                              QueueMode where) = 0;
  /// Whether this process has waiters for the key, and the server answers them.
  virtual bool is_waited_for(std::string_view key) const noexcept = 0;
  /// Whether the key is seldom free, so that entering the queue costs less than an attempt first.
  virtual bool is_contended(std::string_view key) const noexcept = 0;
  /// Hands a lease over to the first waiter; `lease` is empty then. False if that is not possible.
  virtual bool hand_over(std::string_view key, LeasePtr& lease,
                         const LockOptions& given) noexcept = 0;
  /// The key was released at the server: the first waiter may ask for it.
  virtual void wake_first(std::string_view key) noexcept = 0;

  virtual Metrics metrics() const = 0;

  virtual TimePoint now() const noexcept = 0;

  /// A number of the process, which differs in a forked child: the child holds no lease of its
  /// parent.
  virtual std::uint64_t process() const noexcept = 0;
};

}  // namespace redlatch::detail
