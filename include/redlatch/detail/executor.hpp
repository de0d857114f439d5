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

/// What takes a lease away again, whoever holds the key now: a release by token. It is repeated
/// until the server has answered it, or for `ttl`, when the lease is over anyway.
struct CleanupRelease {
  /// What is given back decides which answers are worth an event: none when it was only feared, or
  /// when the loss of the lease has been told.
  enum class Reason { doubt, lease, ended_lease, notified };

  protocol::Command command;
  std::chrono::milliseconds ttl;
  Reason of = Reason::doubt;
  TimePoint since{};  // when it was acquired, if it was
};

/// No request has more commands than this.
constexpr std::size_t max_commands = 4;

/// What one server is told: commands in one batch, about one key.
struct Request {
  std::string_view key;
  std::span<const protocol::Command> commands;
  /// Carried out in the background when the server may have acted and its answers are not all
  /// known.
  const CleanupRelease* cleanup = nullptr;
  /// So long the server may keep the connection waiting, on top of the time-out for commands: by
  /// the last command, whose last argument that is. Requests with the same question may be answered
  /// together. The connection is one that is used for nothing else.
  std::chrono::milliseconds blocks{0};
};

/// The replies to one request, in order. Takes no memory of its own.
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

/// What one server said.
struct Response {
  /// One for each command, in order; fewer when `failure` is set, none when it has not answered
  /// yet.
  Replies replies{};
  std::optional<Error> failure{};
  /// Just before the first byte went out; `TimePoint{}` when none did. Also of what is not
  /// answered.
  TimePoint sent{};
  /// The connection that it went out on; no other ever has the same number. 0: not known.
  std::uint64_t connection = 0;
  /// The server was asked to wait for a shorter time than the request has, since others shared the
  /// question: it may be asked again.
  bool cut_short = false;
};

/// Whether a call may connect when it finds no connection.
enum class ConnectPolicy {
  separate_timeout,  // yes, and the time-out of the commands starts anew behind it
  within_timeout,    // yes, within the time-out of the commands
  never
};

/// Where those of one client who wait for a key stand: behind each other, or each by itself, so
/// that they are in the server's queue one by one.
enum class QueueMode { with_others, alone };

/// Says commands to servers, keeps the time and waits. The lock template knows nothing else of the
/// world, so tests hand it one without sockets. All members may be called by any thread.
class Executor {
 public:
  /// Whether the answers that are there suffice.
  using Enough = bool (*)(std::span<const Response>);

  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;

  virtual std::size_t servers() const noexcept = 0;
  virtual std::string server(std::size_t index) const = 0;
  /// Whether scripts may be sent at all.
  virtual bool scripting() const noexcept = 0;

  /// Sends `requests[i]` to server i, all at once, and comes back when `enough` says so, when all
  /// have answered or failed, or when the time-out for commands is over.
  virtual void execute(std::span<const Request> requests, std::span<Response> responses,
                       Enough enough, ConnectPolicy policy) = 0;

  /// Has every server carry `cleanup` out without waiting for the answers. It is sent at once,
  /// behind all that was said about the key before, where there is a connection, and otherwise by
  /// the background. Only a server that has to be told in a conversation is waited for.
  virtual void post(std::string_view key, const CleanupRelease& cleanup) noexcept = 0;

  /// Room for a tenure of the key. Throws `Error` when nothing could look after it.
  virtual Lease& open_lease(std::string_view key) = 0;
  virtual void close_lease(Lease& lease) noexcept = 0;
  /// From now on the lease is kept up as told, and its loss is told in time.
  virtual void keep(Lease& lease) noexcept = 0;
  /// No renewals until it is kept again; its loss is still told.
  virtual void suspend(Lease& lease) noexcept = 0;
  /// The lock takes the lease back into its own hands: nothing more is said about it after this
  /// returns. What was said already still counts when it is answered.
  virtual void pause_renewal(Lease& lease) noexcept = 0;
  /// The same, and answers that are still to come do not count any more. True when the loss of the
  /// lease has been told.
  virtual bool detach(Lease& lease) noexcept = 0;
  virtual std::stop_token lost_token(Lease& lease) = 0;

  /// Counts what has happened to a lock, and tells the program.
  virtual void record_event(EventKind kind, std::string_view key, TimePoint since,
                            std::error_code error) noexcept = 0;
  /// A place behind those who wait for the key in this process already, or by itself. `key` and
  /// `wanted` have to live longer.
  virtual std::unique_ptr<Waiter> enter_queue(std::string_view key, const LockOptions& wanted,
                                              QueueMode where) = 0;
  /// Whether there are some, and the server answers them.
  virtual bool is_waited_for(std::string_view key) const noexcept = 0;
  /// Whether it is hardly free, so that to queue up for it costs less than to ask first.
  virtual bool is_contended(std::string_view key) const noexcept = 0;
  /// Passes a lease on to the first who waits; false when that cannot be. `lease` is empty then.
  virtual bool hand_over(std::string_view key, LeasePtr& lease,
                         const LockOptions& given) noexcept = 0;
  /// The key was given up at the server: the first of them may ask for it.
  virtual void wake_first(std::string_view key) noexcept = 0;

  virtual Metrics metrics() const = 0;

  virtual TimePoint now() const noexcept = 0;

  /// Another number in a forked child: it owns nothing of its parent's.
  virtual std::uint64_t process() const noexcept = 0;
};

}  // namespace redlatch::detail
