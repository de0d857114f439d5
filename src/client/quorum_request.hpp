#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "base/io_error.hpp"
#include "base/mutex.hpp"
#include "client/client_core.hpp"
#include "engine/call.hpp"
#include "engine/shared_connection.hpp"

namespace redlatch::detail {

/// One server of a quorum, and the time of the next attempt to connect to it. Any thread may call
/// any member.
class Node {
 public:
  explicit Node(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}

  ClientCore& core() const noexcept { return *core_; }
  /// No call has waited for it to connect yet. The first call does, so that its lock is acquired on
  /// all servers and not on the first majority.
  bool is_new() const noexcept { return is_new_; }
  void note_waited() noexcept { is_new_ = false; }
  /// False for 100 ms after an attempt has failed.
  bool may_connect(TimePoint now) const noexcept { return now >= not_before_.load(); }
  /// `connection`: one of the core's.
  void note_failure(TimePoint now, Errc why, const SharedConnection& connection) noexcept {
    why_ = why;
    failed_ = &connection;
    not_before_ = now + pause;
  }
  /// Why connecting has failed. Throws `std::bad_alloc`.
  IoError failure() const {
    const SharedConnection* const failed = failed_;
    const auto last = failed == nullptr ? std::nullopt : failed->connect_failure();
    std::string text = "connecting to it has failed a moment ago";
    if (!last || last->code() != why_) return {why_, text};
    return {why_, text + ": " + last->what()};
  }

 private:
  static constexpr std::chrono::milliseconds pause{100};

  std::shared_ptr<ClientCore> core_;
  std::atomic<TimePoint> not_before_{};
  std::atomic<Errc> why_ = Errc::unreachable;
  std::atomic<const SharedConnection*> failed_ = nullptr;  // the connection that was tried last
  std::atomic<bool> is_new_ = true;
};

/// Spare `PollNotifier`s, since each is a descriptor. The mutex guards the list; no other is taken
/// under it.
class PollNotifierPool {
 public:
  /// Throws `Error` when there is no descriptor left.
  std::unique_ptr<PollNotifier> take();
  void put_back(std::unique_ptr<PollNotifier> poll_notifier) noexcept;
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_) {
    spare_.clear();
    mutex_.unlock();
  }

 private:
  /// Maximum number of spare ones: a burst of calls leaves no more descriptors open.
  static constexpr std::size_t max_spare = 16;

  Mutex mutex_{};
  std::vector<std::unique_ptr<PollNotifier>> spare_ REDLATCH_GUARDED_BY(mutex_){};
};

/// Takes a `PollNotifier` from the pool until the end of the scope.
class BorrowedPollNotifier {
 public:
  explicit BorrowedPollNotifier(PollNotifierPool& notifiers)
      : notifiers_(notifiers), poll_notifier_(notifiers.take()) {}
  BorrowedPollNotifier(const BorrowedPollNotifier&) = delete;
  BorrowedPollNotifier& operator=(const BorrowedPollNotifier&) = delete;
  ~BorrowedPollNotifier() { notifiers_.put_back(std::move(poll_notifier_)); }

  PollNotifier& operator*() const noexcept { return *poll_notifier_; }

 private:
  PollNotifierPool& notifiers_;
  std::unique_ptr<PollNotifier> poll_notifier_;
};

/// One request to all servers of a quorum at once. Its thread polls the connections, and reads each
/// one that no other call leads; it leaves as soon as the replies are enough. Later replies are
/// read and dropped by the next call on their connection, or by the background thread.
class QuorumRequest {
 public:
  /// Until when a server may take to answer, when a refused request has to be retried. `leave`
  /// waits for that.
  struct Ends {
    TimePoint connected{};
    TimePoint connecting{};  // where there was no connection
  };

  /// Sends the requests, one for each node, where there are connections, and has the others
  /// connect, unless `policy` forbids it. One thread may wait for several requests with the same
  /// notifier, one after the other.
  QuorumRequest(std::span<const std::unique_ptr<Node>> nodes, std::span<const Request> requests,
                std::span<Response> responses, ConnectPolicy policy, PollNotifier& poll_notifier,
                const Ends& ends);
  QuorumRequest(const QuorumRequest&) = delete;
  QuorumRequest& operator=(const QuorumRequest&) = delete;
  ~QuorumRequest();

  /// The number of servers that it was sent to, or can be without connecting.
  std::size_t connected() const noexcept;
  /// Waits until `enough` is true of the responses, until all servers have answered or failed, or
  /// until `end`. A new server is waited for until `end_for_new` even when the others are enough.
  /// From a stop on (`Request::stop`), no server is waited for that is being connected, and the
  /// others until `end_for_new`.
  void wait(RequestTransport::Enough enough, TimePoint end, TimePoint end_for_new);
  /// Ends the wait, and puts what is known of the pending requests into their responses.
  void end();
  /// Leaves the requests that are not answered, which are not cancelled; their responses have the
  /// time at which they were sent.
  void leave() noexcept;

 private:
  struct NodeCall {
    NodeCall(Node& one, const Request& request, Response& whole)
        : node(one),
          connection(one.core().connection_of(request.key)),
          response(whole),
          call{.request = request, .response = answer} {}

    Node& node;
    SharedConnection& connection;
    Response& response;
    Response answer{};  // written by the leader of the connection until `call` is done
    Call call;
    bool connects = false;   // the server is being connected
    bool concluded = false;  // the response is complete
  };

  QuorumRequest(std::span<Response> responses, PollNotifier& poll_notifier)
      : responses_(responses), poll_notifier_(poll_notifier) {}

  void begin(NodeCall& node_call, ConnectPolicy policy, const Ends& ends);
  static void fail(NodeCall& node_call, const IoError& why);
  bool is_over(RequestTransport::Enough enough, TimePoint end_for_new);
  static bool is_to_be_left(const NodeCall& node_call) noexcept;
  static void conclude(NodeCall& node_call);
  void sleep(TimePoint end, TimePoint end_if_stopped);

  bool is_stopped() const noexcept { return calls_.front().call.request.is_stopped(); }

  std::span<Response> responses_;
  PollNotifier& poll_notifier_;
  std::list<NodeCall> calls_{};
};

}  // namespace redlatch::detail
