#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <redlatch/detail/executor.hpp>

#include "base/io_error.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "engine/completion_sink.hpp"
#include "engine/multiplexer.hpp"
#include "engine/pending_request.hpp"
#include "net/connection.hpp"
#include "net/socket_address.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// One of a client's connections, shared by all threads that call the client.
///
/// # Leader and followers
///
/// **Why.** Locks are many small requests from many threads. Measured on two cores over loopback,
/// as multiples of a blocking connection per thread with 1, 4, 16 and 64 threads, each acquiring
/// and releasing keys of its own: a pool of 4 connections with check-out reaches 0.8 down to 0.5
/// (and a 99th percentile of 17 ms at 64 threads), a thread for I/O 0.84, 0.52, 1.62 and 1.89, and
/// 4 shared connections whose callers do the I/O for each other 1.80, 1.52, 2.57 and 3.34. The
/// server's limit is about 6. An I/O thread costs two wake-ups per call, which a single caller
/// feels most; a pool sends one request per system call, whatever the load. And one connection per
/// key gives the order for free: the release at the end of a scope needs no wait, the cleanup of an
/// acquisition in doubt arrives behind it, and no renewal overtakes a release. (`Routes` keeps a
/// key on its connection while anything about it is held or unanswered.)
///
/// **Who leads.** `has_leader_` is true while a thread does the I/O. A call that finds it false
/// becomes the leader (`Call::State::leading`): it connects if need be, writes, and reads. Only the
/// leader uses the transport and completes requests; it releases the mutex while it sends and while
/// it waits for the server. What it sends and what the bytes mean that it receives is decided by
/// the `Multiplexer`, with the mutex. A caller without rivals needs no wake-up and causes none.
///
/// **How followers queue.** A call that finds a leader appends its request to the queue and sleeps
/// on its own baton (`follow`), outside of the mutex. The leader posts the baton when the call is
/// done, when the call is appointed the next leader, and when the time that it may wait has
/// changed, because connecting is over.
///
/// **Batching.** The leader reads all replies and completes the calls that they belong to, in the
/// order of sending. When its own call is done, it leaves (`pass_on`). If no call awaits a reply
/// any more, it first sends everything that was queued meanwhile in one `send()`, so that the
/// server works on the batch while the next leader wakes up. If replies are still awaited, the
/// queue waits: one batch with callers is in flight at a time, and batches grow with the load.
///
/// **The next leader** is the first call that can lead, looked for among the requests in flight,
/// then the refused ones, then the queue. That is the call whose reply comes first, so a leader
/// seldom reads replies of others for long before its own. Calls with a `PollNotifier` never lead:
/// their threads poll several connections for a quorum. If no call is left, `has_leader_` becomes
/// false; replies that are still to come (of releases, renewals and abandoned calls) are read by
/// the next leader, or by the background thread within 50 ms (`CompletionSink::expect_answers`,
/// `receive_available`).
///
/// **Refusals.** A request that the server refused without carrying it out (a forgotten or
/// forbidden script) is retried before any later request is sent, if no newer command about its
/// lease was carried out. Its retry has the connection to itself, as it may take several round
/// trips, and a transaction among them (`RequestRetry`). No thread waits in it: any leader sends
/// what comes next and reads the replies, so each call keeps to its own deadline. A call that gives
/// up meanwhile leaves a retry behind that only ends what it has begun.
///
/// **Deadlines.** A call whose time is over leaves and abandons only its reply, which is discarded
/// when it comes; a leader passes the lead on, a follower returns. If its command may be carried
/// out, its cleanup release is queued behind it. Because the process itself may have been stopped,
/// each call gets one grace period (as long as it was late, from 10 to 100 ms) in which the leader
/// reads what has come before the call fails. A connection that leaves a command unanswered for
/// seven eighths of `command_timeout` is retired: it goes to the background, which waits for the
/// remaining replies, and the next leader opens another one. Time spent on connecting does not
/// count against a call's time for the answer (`ConnectPolicy::separate_timeout`); followers share
/// the outcome of the leader's attempt, so that a dead server costs all of them one
/// `connect_timeout`.
///
/// **Stops.** A call whose `Request::stop` is requested leaves unless it was sent. A follower is
/// woken for that by the thread that requests the stop (`wake`). A leader leaves its attempt to
/// connect, or the pause in front of it, and passes the lead on: the next leader goes on with what
/// is under way (`Connecting`), as stops of some calls must not keep others, and renewals, from
/// the server.
///
/// **Doubt.** What comes from a node of a cluster that was silent for long is believed once other
/// nodes have said that it was not replaced (`Topology::confirm`). Until then it is kept in
/// `doubted_`, and nothing behind it is read. A leader that reads for a call waits for what the
/// others say, for as long as the call has. All others only look (`Topology::is_confirmed`): the
/// background thread has renewals at other nodes to send, and the end of a scope does not wait.
///
/// **Without callers.** `post` (a release), `begin` (one server of a quorum), `repeat` and
/// `receive_available` (the background thread) set `has_leader_` and do one step of I/O with no
/// `Call` of their own. They wait for no reply; calls that arrive meanwhile follow as usual and are
/// appointed by `pass_on`.
///
/// **Leftovers.** What ends without a call (releases and renewals), what is to be sent again, and a
/// connection that was given up, the multiplexer leaves over. Before the mutex is released, all of
/// that goes on to the `CompletionSink`, in `hand_on_leftovers` and nowhere else.
///
/// **Fork.** `before_fork` holds the mutex, so the multiplexer is whole in the child. A leader may
/// be using the transport with the mutex released, so that may not be whole: the child closes the
/// descriptor without sending anything, leaks the transport if there was a leader, empties all
/// lists and connects anew. The parent continues as if nothing had happened.
///
/// # Locking
///
/// `mutex_` guards every member below and, through `multiplexer_`, all requests and their calls'
/// shared fields. `has_leader_` and `Call::state` are atomics that change under the mutex only;
/// they are read without it as hints. The mutex is taken before those of the `CompletionSink`
/// (background, renewer, leases, notifier), never behind them, and one shared connection's mutex is
/// never held while another's is taken, except around fork. Batons are posted after it is released
/// (`Section`, `Pause`), so that no thread wakes up to wait for it.
class SharedConnection {
 public:
  SharedConnection(const Settings& settings, CompletionSink& sink)
      : settings_(settings), sink_(sink), multiplexer_(settings, sink) {}
  SharedConnection(const SharedConnection&) = delete;
  SharedConnection& operator=(const SharedConnection&) = delete;
  ~SharedConnection() { assert(!has_leader_ && !connecting_); }

  /// Sends one request and leaves the replies, or the failure, in `response`. `end` is the deadline
  /// for the reply, not counting the time for connecting if `policy` is `separate_timeout`.
  void execute(const Request& request, Response& response, ConnectPolicy policy, TimePoint end);

  /// Sends a request without waiting for the reply, for a caller with a `PollNotifier`. Queues it
  /// if there is a leader or no connection. `look` reads what has come, and `leave` ends the call.
  void begin(Call& call);
  /// Changes the deadline of a call.
  void extend(Call& call, TimePoint end) noexcept;
  /// If there is no leader, reads what has come, and sends the retries that follow from it. Waits
  /// for nothing.
  void look() noexcept;
  /// Abandons a call. Its cleanup release is left to the caller, and its request is not undone.
  void leave(Call& call) noexcept;
  /// Puts the failure of a finished call into its response, and hands its cleanup release to the
  /// sink if the connection broke behind the command. Throws `std::bad_alloc` when memory ran out.
  void conclude(Call& call);
  /// The descriptor to poll; -1 without a connection.
  int fd() const noexcept {
    const MutexLock lock(mutex_);
    return transport_ == nullptr ? -1 : transport_->fd();
  }

  /// The outcome of `post`. `yes`: sent, or queued behind a leader; the request is the connection's
  /// from now on. The others leave the release with the caller: there is no connection and none is
  /// being opened, memory ran out, or the server takes this release only with exclusive use, to be
  /// waited for. `late`: the last such wait took all of its time.
  enum class PostResult { yes, no_connection, no_memory, needs_exclusive_use, late };
  /// Sends a release at once, or queues it for the next batch, and does not wait for the reply.
  PostResult post(std::string_view key, const CleanupRelease& cleanup) noexcept;

  /// Which releases of these keys this connection has not completed yet.
  Multiplexer::Owed owed(const Keys& keys) const noexcept {
    const MutexLock lock(mutex_);
    return multiplexer_.owed(keys);
  }

  /// Queues a renewal, to be sent by `send_renewals` or the next batch. False if memory ran out.
  bool renew(Lease& lease) noexcept;
  /// Sends the queued renewals. Connects first if need be, until `latest` or until the descriptor
  /// `cancel` becomes readable.
  void send_renewals(TimePoint latest, int cancel) noexcept { repeat({}, latest, cancel); }

  /// Sends the queued renewals if that needs no wait, and else fails them; leaves them to a leader
  /// if there is one.
  void leave_renewals() noexcept;

  /// Sends releases again. Connects first if need be and if `ConnectSchedule` allows it, until
  /// `latest` or until the descriptor `cancel` becomes readable.
  void repeat(PendingRequests releases, TimePoint latest, int cancel) noexcept;
  /// Whether a thread does I/O right now. Only a hint: it may have changed on return.
  bool busy() const noexcept { return has_leader_; }
  /// Of the node that it leads to.
  const Settings& settings() const noexcept { return settings_; }
  /// Whether there is a connection. It may be lost without this being known yet.
  bool connected() const noexcept {
    const MutexLock lock(mutex_);
    return multiplexer_.connected();
  }
  /// Why the last attempt to connect has failed; nothing if it has not.
  std::optional<IoError> connect_failure() const {
    const MutexLock lock(mutex_);
    if (!failure_) return std::nullopt;
    return IoError(failure_->code(), failure_->what());  // copies would share a counter
  }
  /// If there is no leader, reads what has come and retries what was refused, until `end` at the
  /// latest. False when no reply is to come.
  bool receive_available(TimePoint end) noexcept;
  /// Sends what is queued and reads all replies, until `end` at the latest. For the end of the
  /// client: no call may be in progress.
  void finish(TimePoint end) noexcept;

  // Around fork(2): the mutex is held meanwhile, and the child abandons the connection.
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_);

 private:
  class Section;
  class Pause;

  /// Until when a call waits. With `separate_timeout`, time spent on connecting, by this call or by
  /// an earlier leader, extends it by at most `connect_timeout` in all.
  struct Deadline {
    ConnectPolicy policy;
    TimePoint end;                              // for the reply, without any time for connecting
    std::chrono::nanoseconds connected_before;  // `connecting_time()` when the call began
  };

  bool execute_once(const Request& request, Response& response, ConnectPolicy policy, TimePoint end)
      REDLATCH_EXCLUDES(mutex_);
  void follow(Call& call, const Deadline& deadline, TimePoint until) REDLATCH_EXCLUDES(mutex_);
  void wake(Call& call) noexcept REDLATCH_EXCLUDES(mutex_);
  TimePoint check_follower(Call& call, const Deadline& deadline) REDLATCH_REQUIRES(mutex_);
  void lead(Call& call, const Deadline& deadline) REDLATCH_REQUIRES(mutex_);
  bool try_step(Call& call, const Deadline& deadline) REDLATCH_REQUIRES(mutex_);
  void step(Call& call, const Deadline& deadline) REDLATCH_REQUIRES(mutex_);
  void retry(TimePoint end) REDLATCH_REQUIRES(mutex_);
  void read_abandoned(TimePoint end) REDLATCH_REQUIRES(mutex_);
  /// What `pass_on` does with refused releases and renewals when no call is left to lead. `retry`,
  /// passed by a leader with time left: that leader retries them. `leave`, passed by every other
  /// thread: they wait for the next leader or the background thread.
  enum class RefusedReleases { retry, leave };
  /// What `pass_on` does with a connection that the server leaves unanswered for too long. `retire`
  /// hands it to the background. `keep`, passed by `leave`: the cleanup release of the call that
  /// leaves has to follow on this connection.
  enum class StaleConnection { retire, keep };
  bool pass_on(RefusedReleases releases, TimePoint now,
               StaleConnection stale = StaleConnection::retire) noexcept REDLATCH_REQUIRES(mutex_);
  bool leave_empty() noexcept REDLATCH_REQUIRES(mutex_);
  bool begin_grace(Call& call, TimePoint now) const noexcept REDLATCH_REQUIRES(mutex_);
  TimePoint end_of(const Call& call, const Deadline& deadline) const noexcept
      REDLATCH_REQUIRES(mutex_) {
    return std::max(end_of(deadline), call.grace_until);
  }

  template <class Operation>
  void survive(Operation operation) noexcept REDLATCH_REQUIRES(mutex_);
  void check_connection(TimePoint now, Multiplexer::Probe probe = Multiplexer::Probe::usual)
      REDLATCH_REQUIRES(mutex_);
  void read_overdue(TimePoint now) REDLATCH_REQUIRES(mutex_);
  void drive_retries(TimePoint end) REDLATCH_REQUIRES(mutex_);
  void hand_on_leftovers() noexcept REDLATCH_REQUIRES(mutex_);
  void part(Leftovers& leftovers) noexcept REDLATCH_REQUIRES(mutex_);
  void note_refusal(std::string_view explanation) noexcept REDLATCH_REQUIRES(mutex_);
  void add_refusal(IoError& failure) const noexcept REDLATCH_REQUIRES(mutex_);

  // The leader's I/O; all throw `IoError`.
  template <class Transfer>
  auto naming_owed(Transfer transfer) REDLATCH_REQUIRES(mutex_);
  template <class Then>
  bool send_now(Then then) REDLATCH_REQUIRES(mutex_);
  bool send_now() REDLATCH_REQUIRES(mutex_);
  bool wait_for_room(TimePoint end) REDLATCH_REQUIRES(mutex_);
  void flush(TimePoint end) REDLATCH_REQUIRES(mutex_);
  void read(TimePoint end) REDLATCH_REQUIRES(mutex_) { read(end, end); }
  void read(TimePoint end, TimePoint doubt_end) REDLATCH_REQUIRES(mutex_);
  void receive_now() REDLATCH_REQUIRES(mutex_);
  void process(std::string_view bytes, TimePoint until) REDLATCH_REQUIRES(mutex_);
  bool settle_doubt(TimePoint until) REDLATCH_REQUIRES(mutex_);
  void accept(std::string_view bytes, TimePoint now) REDLATCH_REQUIRES(mutex_);

  bool may_connect() noexcept REDLATCH_REQUIRES(mutex_);
  void await_attempt(const Call* call, TimePoint next) REDLATCH_REQUIRES(mutex_);
  Connection connect_for(const Call* call, Connecting& attempt, TimePoint end, int cancel) const
      REDLATCH_EXCLUDES(mutex_);
  void open(Call* call, const Deadline& deadline, int cancel) REDLATCH_REQUIRES(mutex_);

  TimePoint command_end() const noexcept {
    return BootClock::now() + settings_.options.command_timeout;
  }
  std::chrono::nanoseconds connecting_time() const noexcept REDLATCH_REQUIRES(mutex_);
  TimePoint end_of(const Deadline& deadline) const noexcept REDLATCH_REQUIRES(mutex_);

  const Settings& settings_;
  CompletionSink& sink_;

  mutable Mutex mutex_{};
  std::atomic<bool> has_leader_ = false;
  Multiplexer multiplexer_ REDLATCH_GUARDED_BY(mutex_);
  // Only the leader replaces it, and uses it with the mutex released.
  std::unique_ptr<Transport> transport_ REDLATCH_GUARDED_BY(mutex_){};
  SocketAddress address_ REDLATCH_GUARDED_BY(mutex_){};    // of the connection
  std::uint64_t version_ REDLATCH_GUARDED_BY(mutex_) = 0;  // of the topology that led there
  // What has come and is not believed yet, and when it came. Empty: all that has come was.
  std::string doubted_ REDLATCH_GUARDED_BY(mutex_){};
  TimePoint doubted_since_ REDLATCH_GUARDED_BY(mutex_){};
  std::string leads_to_ REDLATCH_GUARDED_BY(mutex_){};  // the address in words
  // What the server has said that the last connection led to, if it is no primary.
  std::string refusal_ REDLATCH_GUARDED_BY(mutex_){};
  // Under way without a leader, as the leader that began it was cancelled.
  Connecting attempt_ REDLATCH_GUARDED_BY(mutex_){};
  // A leader is opening a connection, with the mutex released.
  bool connecting_ REDLATCH_GUARDED_BY(mutex_) = false;
  TimePoint connecting_since_ REDLATCH_GUARDED_BY(mutex_){};
  // Spent on finished attempts to connect, in all.
  std::chrono::nanoseconds connected_for_ REDLATCH_GUARDED_BY(mutex_){0};
  // Of the last attempt to connect; none if that succeeded.
  std::optional<IoError> failure_ REDLATCH_GUARDED_BY(mutex_){};
};

}  // namespace redlatch::detail
