#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "base/mutex.hpp"
#include "client/client_core.hpp"
#include "engine/call.hpp"
#include "engine/shared_connection.hpp"

namespace redlatch::detail {

/// One of several servers. Whether it could be reached lately may be asked by any thread.
class Node {
 public:
  explicit Node(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}

  ClientCore& core() const noexcept { return *core_; }
  /// Nobody has waited for it to connect yet: whoever comes first does, so that what is acquired at
  /// once is acquired on all servers.
  bool is_new() const noexcept { return is_new_; }
  void note_waited() noexcept { is_new_ = false; }
  /// After a failure to connect there is no other attempt for a while.
  bool may_connect(TimePoint now) const noexcept { return now >= not_before_.load(); }
  void note_failure(TimePoint now, Errc why) noexcept {
    why_ = why;
    not_before_ = now + pause;
  }
  Errc why() const noexcept { return why_; }

 private:
  static constexpr std::chrono::milliseconds pause{100};

  std::shared_ptr<ClientCore> core_;
  std::atomic<TimePoint> not_before_{};
  std::atomic<Errc> why_ = Errc::unreachable;
  std::atomic<bool> is_new_ = true;
};

/// Bells that are used again and again, since each is a descriptor.
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
  /// A burst of callers leaves no more descriptors than that.
  static constexpr std::size_t max_spare = 16;

  Mutex mutex_{};
  std::vector<std::unique_ptr<PollNotifier>> spare_ REDLATCH_GUARDED_BY(mutex_){};
};

/// A bell for as long as this lives.
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

/// One question that several servers are asked at once. Whoever asks reads the answers by itself,
/// unless others who use the same connection do, and goes as soon as it knows enough. What comes
/// later is thrown away by whoever uses the connection next.
class QuorumRequest {
 public:
  /// So long a server may take to answer what has to be said to it again. `leave` waits for that.
  struct Ends {
    TimePoint connected{};
    TimePoint policy{};  // where there was no connection
  };

  /// Sends the requests, one for each node, where there are connections, and has the others
  /// connect, if it may. One thread may wait for several rounds by the same bell, one after the
  /// other.
  QuorumRequest(std::span<const std::unique_ptr<Node>> nodes, std::span<const Request> requests,
                std::span<Response> responses, ConnectPolicy policy, PollNotifier& poll_notifier,
                const Ends& ends);
  QuorumRequest(const QuorumRequest&) = delete;
  QuorumRequest& operator=(const QuorumRequest&) = delete;
  ~QuorumRequest();

  /// To how many it was sent, or can be at once.
  std::size_t connected() const noexcept;
  /// Until `enough` says so, all have answered or failed, or the time is over. New ones are waited
  /// for until `end_for_new` all the same.
  void wait(Executor::Enough enough, TimePoint end, TimePoint end_for_new);
  /// Puts what is known into the responses. Nothing more is waited for.
  void end();
  /// Nobody waits for what has not been answered; the responses say when it was sent. Nothing of
  /// that is taken back.
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
    Response answer{};  // may be written to by any thread until the caller is done
    Call call;
    bool connects = false;   // there was no connection
    bool concluded = false;  // the response is complete
  };

  QuorumRequest(std::span<Response> responses, PollNotifier& poll_notifier)
      : responses_(responses), poll_notifier_(poll_notifier) {}

  void begin(NodeCall& node_call, ConnectPolicy policy, const Ends& ends);
  bool is_over(Executor::Enough enough, TimePoint end_for_new);
  static void conclude(NodeCall& node_call);
  void sleep(TimePoint end);

  std::span<Response> responses_;
  PollNotifier& poll_notifier_;
  std::list<NodeCall> calls_{};
};

}  // namespace redlatch::detail
