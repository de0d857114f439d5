#pragma once

#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

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
  TimePoint::duration held{};  // for how long the lock was held, if it was
};

/// The maximum number of commands in a request.
constexpr std::size_t max_commands = 4;

/// A request to one server: commands in one batch, about one key.
struct Request {
  std::string_view key;
  std::span<const protocol::Command> commands;
  /// Sent in the background if the only server may have carried the commands out and a reply is
  /// missing. With several servers, that is up to the caller.
  const CleanupRelease* cleanup = nullptr;
  /// How long the last command, a WAIT or WAITAOF with this time as its last argument, may block
  /// the connection, on top of `command_timeout`. Requests with the same one may be joined. They
  /// use connections of their own.
  std::chrono::milliseconds blocks{0};
  /// Null, or the token by which the caller ends its wait: once a stop is requested, the request is
  /// not waited for unless it was sent, and fails as `unreachable`. Outlives the request.
  const std::stop_token* stop = nullptr;
  /// Whether the key is being moved to this node of a cluster: the first command is sent behind
  /// ASKING.
  bool asks = false;

  bool may_block() const noexcept { return blocks > std::chrono::milliseconds::zero(); }
  bool is_stopped() const noexcept { return stop != nullptr && stop->stop_requested(); }
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

/// The way to the server of a client, or to those of a quorum, and the time. Any thread may call
/// any member.
class RequestTransport {
 public:
  /// Whether the replies received so far suffice.
  using Enough = bool (*)(std::span<const Response>);

  RequestTransport(const RequestTransport&) = delete;
  RequestTransport& operator=(const RequestTransport&) = delete;

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

  virtual TimePoint now() const noexcept = 0;

  /// A number of the process, which differs in a forked child: the child holds no lease of its
  /// parent.
  virtual std::uint64_t process() const noexcept = 0;

 protected:
  RequestTransport() = default;
  ~RequestTransport() = default;
};

}  // namespace redlatch::detail
