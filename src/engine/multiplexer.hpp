#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "base/unlocked.hpp"
#include "engine/completion_sink.hpp"
#include "engine/connect_schedule.hpp"
#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"

namespace redlatch::detail {

class CombinedWait;

/// The requests of one connection: queues them, sends them in batches, matches replies, abandons,
/// retries and retires. `SharedConnection` decides which thread calls these functions, and when.
///
/// A request is in `queue_`, then in `pipeline_.in_flight`, perhaps in `retrying_`, and at last
/// back in `pool_`; `PendingRequest::Status` names the list. All members are guarded by the shared
/// connection's mutex. Any thread with the mutex may add to the queue. Only the leader uses the
/// connection and takes requests out of the other two lists; but a thread whose call gives up takes
/// its own request out, unless the leader is retrying it (`Call::retrying`).
///
/// Functions with a `Guard` parameter are called with the mutex, release it while they wait for the
/// server, and return with it.
class Multiplexer {
 public:
  using Guard = std::unique_lock<std::mutex>;
  /// Which queued requests `send_queued` sends. `all`: usually. `background`: releases and
  /// renewals, when the background thread leads, which has no time for the replies of calls.
  /// `releases`: when the server leaves the connection unanswered, so that nothing but cleanup may
  /// follow on it.
  enum class Send { all, background, releases };

  Multiplexer(const Settings& settings, CompletionSink& sink) : settings_(settings), sink_(sink) {}
  Multiplexer(const Multiplexer&) = delete;
  Multiplexer& operator=(const Multiplexer&) = delete;
  ~Multiplexer() { assert(queue_.empty() && waiting_ == 0); }

  bool connected() const noexcept { return pipeline_.connection != nullptr; }
  /// -1 without a connection.
  int fd() const noexcept { return connected() ? pipeline_.connection->fd() : -1; }
  /// Takes the outcome of an attempt to connect, which is null if that failed.
  void connected_by(std::unique_ptr<Connection> connection,
                    std::shared_ptr<const void> alive) noexcept;
  /// How often `check_connection` looks at an idle connection, which costs a system call. `usual`:
  /// unless it was used in the last 10 us. `seldom`: unless in the last 5 ms, for a call of a
  /// quorum, which can do without one server.
  enum class Probe { usual, seldom };
  /// Before something is sent: drops a connection that the server has closed or on which it sent
  /// what no request asked for, and retires one that it leaves unanswered for too long.
  void check_connection(TimePoint now, Probe probe = Probe::usual);
  /// Hands a stale connection to the background, unless a call awaits a reply on it.
  void retire_if_stale() noexcept;
  /// Whether the first request in flight is overdue although everything that came was read.
  bool is_stale() const noexcept;
  /// The grace period for a reply whose time was found to be over for `late`: at least 10 ms, since
  /// the leader needs a moment to read it, and at most 100 ms. The process may have been stopped,
  /// and the reply be there, or come at once.
  static constexpr TimePoint::duration grace_for(TimePoint::duration late) noexcept {
    return std::clamp<TimePoint::duration>(late, std::chrono::milliseconds(10),
                                           std::chrono::milliseconds(100));
  }
  /// If the first request in flight is overdue, reads what has come, and starts its grace period if
  /// it is overdue still: a pause of this process must not be taken for the server's silence.
  void read_if_overdue();
  /// Drops a connection to a server that is not a primary (any more), once nothing is in flight.
  void drop_outdated() noexcept;
  ConnectSchedule& schedule() noexcept { return schedule_; }
  /// The connection is lost: fails all calls in flight or retrying, and hands releases and renewals
  /// to the sink. Null: memory has run out.
  void fail_connection(const IoError* why) noexcept;
  /// In a forked child: forgets the connection and all requests. `in_use`: the parent had a leader.
  void abandon(bool in_use) noexcept;

  /// Queues the request of a call. Throws `std::bad_alloc`, like the next two.
  void queue(Call& call);
  /// Queues a release.
  void queue(std::string_view key, const CleanupRelease& cleanup);
  /// Queues a renewal.
  void queue(Lease& renewed);
  /// Queues releases that the sink kept.
  void queue(PendingRequests releases) noexcept;
  /// Writes what is queued into the connection's buffer, up to the first call that needs exclusive
  /// use. False when there was nothing to send. Validity counts from `now`, so it must not be later
  /// than the first byte.
  bool send_queued(Send which, TimePoint now);
  /// Sends the buffer, waiting until `end` at most.
  void flush(TimePoint end, Guard& guard) const {
    assert(connected());
    const Unlocked unlocked(guard);
    pipeline_.connection->flush(end);
  }
  /// Sends as much of the buffer as the socket takes at once.
  void try_flush(Guard& guard) const {
    assert(connected());
    const Unlocked unlocked(guard);
    pipeline_.connection->try_flush();
  }
  /// Waits until `end` at most for replies, and delivers all that have come.
  void read(TimePoint end, Guard& guard);
  /// Delivers the replies that have come, without waiting.
  void receive_available();
  /// Retries what the server refused, up to the first request of a call that can lead and is not
  /// `leader`. Nothing may be in flight. Once the server knows a script again, the requests behind
  /// that lacked only this script are sent in one batch and are in flight on return.
  /// A retry that does not fit into the time until `end` is left for the next pass; with a leader,
  /// `IoError` is thrown then.
  void retry_refused(TimePoint end, const Call* leader, Guard& guard);
  /// The call of the first refused request, or null if that request has none that can lead.
  Call* first_refused() const noexcept;
  /// Runs the commands of a queued call with exclusive use of the connection, and completes the
  /// call. Nothing may be in flight.
  void run_exclusively(Call& call, TimePoint end, Guard& guard);

  /// Whether a call awaits a reply.
  bool awaited() const noexcept { return waiting_ > 0; }
  bool all_answered() const noexcept { return pipeline_.in_flight.empty(); }
  bool has_retrying() const noexcept { return !retrying_.empty(); }
  bool has_queued() const noexcept { return !queue_.empty(); }
  /// Whether replies or retries are outstanding, with or without calls that await them.
  bool owes() const noexcept { return !all_answered() || has_retrying(); }
  /// Which releases are outstanding.
  struct Owed {
    bool release = false;  // of one of the keys in question
    bool several = false;  // of several keys at once, whichever keys these are
  };
  Owed owed(const Keys& keys) const noexcept;
  /// The call of the first queued request, if it needs exclusive use. It can lead: the requests of
  /// a quorum are scripts.
  Call* first_needing_exclusive_use() const noexcept;
  /// Whether this server takes the command only in a WATCH/MULTI/EXEC transaction.
  bool needs_exclusive_use(const protocol::Command& command) const noexcept;
  /// The call to appoint as the next leader: the first that can lead of those retrying, in flight
  /// and queued. Null if there is none.
  Call* next_leader() const noexcept;

  /// Abandons a call whose thread stops waiting; the connection lives on. A cleanup release is
  /// queued behind a request in doubt, where no connection can let it arrive earlier, unless the
  /// call has a `PollNotifier`: a quorum decides from the votes of all servers.
  void give_up(Call& call, Errc code, const char* why) noexcept;
  /// Fails a queued call. Null: memory has run out.
  void fail_queued(Call& call, const IoError* why) noexcept;
  /// Fails all queued calls, and hands queued releases and renewals to the sink.
  void fail_queued(const IoError& why) noexcept;
  /// Without a connection: hands queued releases and renewals to the sink, for this reason.
  void repeat_releases_later(Errc why) noexcept;
  bool has_renewals() const noexcept;
  /// Hands refused releases and renewals to the sink, although requests before them may be in
  /// flight.
  void leave_retries_to_sink() noexcept;

  /// Makes a call the leader, and queues it to be woken.
  void appoint(Call& call) noexcept {
    assert(!call.done() && call.poll_notifier == nullptr);
    to_wake_.appoint(call);
  }
  /// Wakes all queued calls, so that they compute their deadlines anew.
  void wake_queued() noexcept;
  bool has_calls_to_wake() const noexcept { return !to_wake_.empty(); }
  /// Releases the mutex, does not take it again, and wakes the calls whose state has changed.
  void wake(Guard& guard) noexcept { to_wake_.wake(guard); }

  /// For assertions: each request has the status of its list, `waiting_` is the number of calls in
  /// flight or retrying, and at most one call leads.
  bool is_consistent() const noexcept;

 private:
  CombinedWait combined_wait() noexcept;
  void append_queued(PendingRequests::iterator pending, CombinedWait& wait, TimePoint now);
  void deliver() noexcept;
  void drop_unwanted() noexcept;
  bool is_unwanted(const PendingRequest& refused) const noexcept;
  void resend_refused(Guard& guard);
  std::span<const protocol::Script* const> known_scripts() const noexcept {
    return {known_scripts_.data(), known_count_};
  }
  void note_script_known(const protocol::Script* script) noexcept;
  template <class Operation>
  void use_exclusively(PendingRequest& about, Guard& guard, Operation operation);
  void answer(PendingRequests& from) noexcept;
  void fail_refused(PendingRequests::iterator pending) noexcept;
  /// Writes into the response when the request was sent, and on which connection.
  void note_sent(const PendingRequest& pending) const noexcept;
  void fail(PendingRequests& from, PendingRequests::iterator pending, const IoError* why) noexcept;
  void mark_queued_overtakable() noexcept;
  void fail_renewals(PendingRequests& from, std::error_code why) noexcept;
  bool is_overdue() const noexcept;
  TimePoint::duration age() const noexcept;
  TimePoint::duration answer_timeout() const noexcept;
  void record_disconnected(std::error_code why) const noexcept;
  void note_connection_state(const PendingRequest& pending) noexcept;
  void note_release(const PendingRequest& pending) noexcept;
  bool cannot_be_released(const Call& call) const noexcept;
  void probe_releases(const Call& call, TimePoint now);

  const Settings& settings_;
  CompletionSink& sink_;

  Pipeline pipeline_{};
  std::uint64_t number_ = 0;  // of the connection, among all of the process
  PendingRequests queue_{};
  PendingRequests retrying_{};  // refused, and to be sent in another way, in the order of sending
  /// Scripts whose text was sent since the server last lacked one.
  std::array<const protocol::Script*, 8> known_scripts_{};
  std::size_t known_count_ = 0;
  RequestPool pool_{};
  std::size_t waiting_ = 0;  // calls whose request is in flight or retrying
  ConnectSchedule schedule_{};
  std::optional<Errc> outdated_{};  // the error by which the server says that it is not a primary
  /// Set while the server lacks the command that releases need, until `no_releases_until_`: no lock
  /// is acquired then, as it could not be released.
  std::optional<IoError> no_releases_{};
  TimePoint no_releases_until_{};
  TimePoint next_release_probe_{};
  TimePoint::duration retry_took_{};  // the last retry with exclusive use
  TimePoint connected_at_{};
  TimePoint used_{};  // when something was last sent or received
  /// The end of the grace period of the first request in flight, if that is overdue.
  TimePoint missing_from_ = TimePoint::max();
  WakeQueue to_wake_{};
};

}  // namespace redlatch::detail
