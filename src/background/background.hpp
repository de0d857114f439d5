#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <redlatch/event.hpp>

#include "background/draining_connections.hpp"
#include "background/notifier.hpp"
#include "background/renewer.hpp"
#include "base/event_fd.hpp"
#include "base/event_source.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "engine/completion_sink.hpp"
#include "engine/shared_connection.hpp"

namespace redlatch::detail {

/// The client's thread, for what nobody waits for: it repeats releases that are open, takes in
/// answers that nobody else does, reports what became of them, and renews what is held. It starts
/// with the first of these and sleeps while there are none.
class Background final : public CompletionSink {
 public:
  /// A key's channel; all of them by turns.
  using ConnectionOf = std::function<SharedConnection&(std::string_view key)>;

  explicit Background(const Settings& settings)
      : settings_(settings),
        notifier_(settings.options.on_event, settings.role.forward, renewer_) {}
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  /// Waits for what is open, for at most `command_timeout`, counted from `stop`. May be called from
  /// `on_event`.
  ~Background() override;
  /// The end has come; it is not waited for.
  void stop() noexcept;

  /// Says the renewals that are due, calls the renewer's `picked_up` then, and hands in what was
  /// answered.
  using Renew = std::function<void(std::span<Lease* const> due)>;

  /// Before anything else. Channels are only used until the destructor returns.
  void serve(std::vector<SharedConnection*> connections, ConnectionOf connection_of,
             EventSource& watched);
  /// The same for what has no channels of its own.
  void serve(Renew renew) { renew_ = std::move(renew); }
  /// Tries again to start the thread, when that was not possible before. Costs nothing else.
  void ensure_started() noexcept {
    if (wants_thread_) retry_start();
  }
  /// Has a channel connect, without waiting for that.
  void connect(SharedConnection& connection) noexcept;
  /// A release that could not be said yet.
  void add(std::string_view key, const CleanupRelease& cleanup) noexcept;
  /// Says a release now and waits for the answer, if there is a connection.
  void send_release(std::string_view key, const CleanupRelease& cleanup) noexcept;

  using CompletionSink::repeat_later;
  void repeat_later(PendingRequests releases) noexcept override;
  void adopt(Pipeline pipeline) noexcept override;
  void ended(const PendingRelease& release, ReleaseOutcome outcome) noexcept override;
  void renewed(const PendingRenewal& renewal, const protocol::Reply& reply,
               TimePoint sent) noexcept override;
  void renewal_failed(const PendingRenewal& renewal, TimePoint sent,
                      std::error_code why) noexcept override;
  bool wants(const PendingRenewal& renewal) noexcept override;
  void superseded(const PendingRenewal& renewal) noexcept override {
    renewer_.superseded(*renewal.lease);
  }
  void record_event(EventKind kind, std::string_view key, TimePoint since,
                    std::error_code error) noexcept override;
  void expect_answers() noexcept override;
  void server_changed() noexcept override;

  Metrics metrics() const;

  Renewer& renewer() noexcept { return renewer_; }
  /// From now on the lease is renewed, and its loss told.
  void keep(Lease& lease) noexcept;
  /// Somebody else's from now on. False when it is lost.
  bool hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept;
  /// Throws `Error` when there is no thread to do that.
  void require_thread();

  // Around fork(2): the child has neither the thread nor its work.
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
  /// How long an answer may stay unread when no caller reads it.
  static constexpr std::chrono::milliseconds look_after{50};

  void wake() noexcept REDLATCH_REQUIRES(mutex_);
  void start() noexcept REDLATCH_REQUIRES(mutex_);
  void retry_start() noexcept REDLATCH_EXCLUDES(mutex_);
  void run() noexcept REDLATCH_EXCLUDES(mutex_);
  bool all_settled() const noexcept REDLATCH_REQUIRES(mutex_);
  /// True when nothing more will come from the channels: they have ended their talk.
  bool work() REDLATCH_REQUIRES(mutex_);
  void repeat_due() REDLATCH_REQUIRES(mutex_);
  PendingRequests take_due(TimePoint now) REDLATCH_REQUIRES(mutex_);
  void repeat(PendingRequests due, TimePoint now, TimePoint latest, int cancel)
      REDLATCH_EXCLUDES(mutex_);
  void drop_watched() REDLATCH_REQUIRES(mutex_);
  void run_exclusively(PendingRequests one, ConnectPolicy policy, TimePoint latest) noexcept
      REDLATCH_EXCLUDES(mutex_);
  void renew_due() REDLATCH_REQUIRES(mutex_);
  /// True when a renewal was sent on one of the connections, so that its answer is to be read.
  bool send_renewals(int cancel) REDLATCH_EXCLUDES(mutex_);
  void connect_wanted() REDLATCH_REQUIRES(mutex_);
  TimePoint renewal_timeout() const noexcept;
  bool is_pressed() const noexcept REDLATCH_REQUIRES(mutex_);
  void rest() REDLATCH_REQUIRES(mutex_);

  const Settings& settings_;
  std::vector<SharedConnection*> connections_{};
  ConnectionOf connection_of_{};
  EventSource* event_source_ = nullptr;
  Renew renew_{};

  Renewer renewer_{};
  Notifier notifier_;
  std::vector<SharedConnection*> renewing_{};  // only used by the thread

  std::atomic<bool> expecting_ = false;  // answers, on some channel
  std::atomic<bool> wants_thread_ = false;
  std::atomic<bool> runs_ = false;

  Mutex mutex_{};
  PendingRequests releases_ REDLATCH_GUARDED_BY(mutex_){};
  std::vector<SharedConnection*> to_connect_ REDLATCH_GUARDED_BY(mutex_){};
  DrainingConnections retired_ REDLATCH_GUARDED_BY(mutex_){};
  TimePoint look_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();  // the channels
  std::chrono::milliseconds look_pause_ REDLATCH_GUARDED_BY(mutex_){};
  bool server_changed_ REDLATCH_GUARDED_BY(mutex_) = false;
  bool stopping_ REDLATCH_GUARDED_BY(mutex_) = false;
  TimePoint stop_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  EventFd event_fd_ REDLATCH_GUARDED_BY(mutex_){};
  EventFd interrupt_ REDLATCH_GUARDED_BY(mutex_){};  // ends an attempt to connect
  std::thread thread_ REDLATCH_GUARDED_BY(mutex_){};
};

}  // namespace redlatch::detail
