#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <redlatch/detail/event_record.hpp>

#include "background/draining_connections.hpp"
#include "background/notifier.hpp"
#include "background/renewer.hpp"
#include "base/event_fd.hpp"
#include "base/event_source.hpp"
#include "base/memory_retry.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "engine/completion_sink.hpp"
#include "engine/node_connections.hpp"
#include "engine/shared_connection.hpp"

namespace redlatch::detail {

/// The background thread of a client, for work that no call waits for. It renews leases, sends open
/// releases again until the server has answered them or their lease is over, reads replies that no
/// call reads, and records what became of releases and renewals. The first piece of work starts the
/// thread; while there is none, it sleeps in poll(2).
///
/// `mutex_` guards the list of work. It is released while the thread uses a connection, so a call
/// that hands work over never waits for a server. It is taken after the mutex of a
/// `SharedConnection` and that of `WaitQueues`, which report to this class with theirs held, and
/// before those of `Notifier` and `Renewer`.
class Background final : public CompletionSink {
 public:
  explicit Background(const Settings& settings)
      : settings_(settings),
        notifier_(settings.options.on_event, settings.role.forward, renewer_, settings.server),
        wants_thread_(watches_topology()) {}
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  /// Waits for open releases, for at most `command_timeout`, counted from `stop`. `on_event` may
  /// call it.
  ~Background() override;
  /// Begins the end, without waiting for it: from now on only open releases are sent.
  void stop() noexcept;

  /// Sends the renewals that are due, then calls the renewer's `picked_up`, and hands the replies
  /// to `renewed` and `renewal_failed`.
  using Renew = std::function<void(std::span<Lease* const> due)>;

  /// To be called before any other member. The connections have to exist until the destructor
  /// returns.
  void serve(NodeConnections& connections, EventSource& subscriptions);
  /// For a quorum, which has no connections of its own: `renew` sends to its servers.
  void serve(Renew renew) { renew_ = std::move(renew); }
  /// Starts the thread where there is a topology to watch, or tries again when the system had none
  /// left before; otherwise this reads one flag. Each call to the server ends with it.
  void ensure_started() noexcept {
    if (wants_thread_) retry_start();
  }
  /// Has the thread connect the connection; does not wait for it. Why not, if that cannot be.
  std::error_code connect(SharedConnection& connection) noexcept;
  /// A release that could not be sent yet, as there was no connection.
  void add(std::string_view key, const CleanupRelease& cleanup, MemoryRetry& retry) noexcept;
  /// Sends a release now and waits for its reply, if there is a connection. The thread retries it
  /// if there is none.
  void send_release(std::string_view key, const CleanupRelease& cleanup,
                    MemoryRetry& retry) noexcept;

  void repeat_later(PendingRequests releases) noexcept override;
  void adopt(Pipeline pipeline, std::unique_ptr<Transport> transport) noexcept override;
  void ended(const PendingRelease& release, ReleaseOutcome outcome) noexcept override;
  void renewed(const PendingRenewal& renewal, const protocol::Reply& reply,
               TimePoint sent) noexcept override;
  void renewal_failed(const PendingRenewal& renewal, TimePoint sent,
                      const Failure& why) noexcept override;
  bool wants(const PendingRenewal& renewal) noexcept override;
  void superseded(const PendingRenewal& renewal) noexcept override {
    renewer_.superseded(*renewal.lease);
  }
  void record_event(const EventRecord& record) noexcept override { notifier_.record_event(record); }
  void expect_answers() noexcept override;
  void server_changed() noexcept override;

  Metrics metrics() const;

  Renewer& renewer() noexcept { return renewer_; }
  /// From now on the lease is renewed, and its loss is notified.
  void keep(Lease& lease) noexcept;
  /// The lease goes to another lock of this client, with that lock's schedule. False when the lease
  /// is lost.
  bool hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept;
  /// Throws `Error` when the system has no thread left that could renew. Once both threads run,
  /// this reads one flag.
  void require_thread();

  // Around fork(2): the child has neither the thread nor its work, which is the parent's.
  // The mutexes of the members are locked by one call and unlocked by another, which the analysis
  // cannot follow, as these are no mutexes of this class.
  void before_fork() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.lock();
    notifier_.before_fork();
    renewer_.before_fork();
  }
  void after_fork_in_parent() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    renewer_.after_fork_in_parent();
    notifier_.after_fork_in_parent();
    mutex_.unlock();
  }
  void after_fork_in_child() noexcept REDLATCH_NO_THREAD_SAFETY_ANALYSIS;

 private:
  /// Delay before the thread reads a reply that no call has read. A connection in use is
  /// used again before that, and the next call reads the reply along with its own, so that a busy
  /// client never wakes the thread.
  static constexpr std::chrono::milliseconds look_after{50};

  void wake() noexcept REDLATCH_REQUIRES(mutex_);
  /// Why the thread cannot be started: no thread, descriptor or memory is left. The next command
  /// tries again, and so does the destructor.
  std::error_code start() noexcept REDLATCH_REQUIRES(mutex_);
  void retry_start() noexcept REDLATCH_EXCLUDES(mutex_);
  void run() noexcept REDLATCH_EXCLUDES(mutex_);
  bool all_settled() const noexcept REDLATCH_REQUIRES(mutex_);
  /// Does all that is due. True once `stopping_` and the connections are finished, so that no more
  /// releases can come from them.
  bool work() REDLATCH_REQUIRES(mutex_);
  void repeat_due() REDLATCH_REQUIRES(mutex_);
  TimePoint due_of(const PendingRelease& release) const noexcept REDLATCH_REQUIRES(mutex_);
  PendingRequests take_due(TimePoint now) REDLATCH_REQUIRES(mutex_);
  void repeat(PendingRequests due, TimePoint now, TimePoint latest, int cancel)
      REDLATCH_EXCLUDES(mutex_);
  void drop_subscription() REDLATCH_REQUIRES(mutex_);
  void run_exclusively(PendingRequests one, ConnectPolicy policy, TimePoint latest) noexcept
      REDLATCH_EXCLUDES(mutex_);
  bool watches_topology() const noexcept;
  void attend_topology() REDLATCH_REQUIRES(mutex_);
  void renew_due() REDLATCH_REQUIRES(mutex_);
  /// True when a renewal was sent on one of the connections, so that its answer is to be read.
  bool send_renewals(int cancel) REDLATCH_EXCLUDES(mutex_);
  void connect_wanted() REDLATCH_REQUIRES(mutex_);
  TimePoint renewal_timeout() const noexcept;
  bool is_pressed() const noexcept REDLATCH_REQUIRES(mutex_);
  void rest() REDLATCH_REQUIRES(mutex_);
  /// For all connections that exist.
  template <class Function>
  void for_each_connection(const Function& function) const {
    if (connections_ != nullptr) connections_->for_each(function);
  }

  const Settings& settings_;
  NodeConnections* connections_ = nullptr;  // null for a quorum
  EventSource* event_source_ = nullptr;
  Renew renew_{};

  Renewer renewer_{};
  Notifier notifier_;
  // Connections with renewals to send. Used by the thread alone, in one pass of `send_renewals`;
  // a member so that its memory is taken once.
  std::vector<SharedConnection*> renewing_{};

  // Read by calls without the mutex.
  std::atomic<bool> expecting_ = false;  // a connection may have unread replies
  // The system had no thread left for the last start, or the topology is to be watched.
  std::atomic<bool> wants_thread_;
  std::atomic<bool> runs_ = false;  // both threads, this and the notifier's, have started

  Mutex mutex_{};
  PendingRequests releases_ REDLATCH_GUARDED_BY(mutex_){};  // open, each with the time of its retry
  std::vector<SharedConnection*> to_connect_ REDLATCH_GUARDED_BY(mutex_){};
  DrainingConnections draining_ REDLATCH_GUARDED_BY(mutex_){};
  // When the connections are read next; `max` while no reply is expected.
  TimePoint look_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  // Delay until `look_at_`. After a renewal it begins with 1 ms and doubles up to 50 ms, so that
  // the reply of a healthy server is read at once and a silent one costs little.
  std::chrono::milliseconds look_pause_ REDLATCH_GUARDED_BY(mutex_){};
  bool server_changed_ REDLATCH_GUARDED_BY(mutex_) = false;  // it is no primary any more
  std::uint64_t topology_version_ REDLATCH_GUARDED_BY(mutex_) = 0;
  bool stopping_ REDLATCH_GUARDED_BY(mutex_) = false;
  // Releases were refused, as the server cannot write, and one in the present period. Waits that
  // ride this out leave one with each attempt, which would all be repeated until the ttl is over:
  // only one is, in each period, until there is one without a refusal.
  static constexpr std::chrono::milliseconds probe_period{100};
  bool is_not_writable_ REDLATCH_GUARDED_BY(mutex_) = false;
  bool is_refused_ REDLATCH_GUARDED_BY(mutex_) = false;
  TimePoint next_probe_ REDLATCH_GUARDED_BY(mutex_){};
  TimePoint stop_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();  // the end of open releases
  EventFd event_fd_ REDLATCH_GUARDED_BY(mutex_){};                    // ends the poll in `rest`
  // Ends an attempt to connect, which may take all of `connect_timeout`, for a lease that has to be
  // renewed sooner.
  EventFd interrupt_ REDLATCH_GUARDED_BY(mutex_){};
  std::thread thread_ REDLATCH_GUARDED_BY(mutex_){};
};

}  // namespace redlatch::detail
