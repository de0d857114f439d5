#pragma once

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "engine/connect_schedule.hpp"
#include "engine/known_scripts.hpp"
#include "engine/leftovers.hpp"
#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"
#include "engine/release_check.hpp"
#include "engine/renewal_filter.hpp"
#include "engine/request_retry.hpp"

namespace redlatch::detail {

class CombinedWait;

/// The requests of one connection: queues them, writes them in batches, matches replies, abandons,
/// retries and retires. It has no socket, thread, mutex or clock: its functions are decisions over
/// the bytes that came, the time that it is told, and the requests that it was given, and what
/// follows from them is bytes to send (`output`), calls that are done (`take_calls_to_wake`), and
/// `Leftovers`. `SharedConnection` decides which thread calls these functions and when, moves the
/// bytes, and guards all of it by its mutex.
///
/// A request is in `queue_`, then in `pipeline_.in_flight`, perhaps in `retrying_`, and at last
/// back in `pool_`; `PendingRequest::Status` names the list. A refused request that has to be sent
/// in another way is alone in flight, and `retry_` has its replies; nothing else is sent until that
/// is over. A call that gives up takes its own request out of `queue_` or `retrying_`; in flight it
/// leaves it behind, abandoned.
class Multiplexer {
 public:
  /// Which queued requests `fill` writes. `all`: usually. `background`: releases and renewals, when
  /// the background thread leads, which has no time for the replies of calls. `releases`: when the
  /// server leaves the connection unanswered, so that nothing but cleanup may follow on it.
  enum class Send { all, background, releases };

  Multiplexer(const Settings& settings, RenewalFilter& renewals)
      : settings_(settings), renewals_(renewals) {}
  Multiplexer(const Multiplexer&) = delete;
  Multiplexer& operator=(const Multiplexer&) = delete;
  ~Multiplexer() { assert(queue_.empty() && waiting_ == 0); }

  // The connection

  bool connected() const noexcept { return pipeline_.stream != nullptr; }
  /// There is a new connection, whose stream has logged in. `abilities`: from the greeting, if that
  /// has asked.
  void connected_by(std::unique_ptr<RespStream> stream,
                    const std::optional<protocol::Abilities>& abilities,
                    std::shared_ptr<const void> alive, TimePoint now) noexcept;
  ConnectSchedule& schedule() noexcept { return schedule_; }
  /// The connection is lost: fails all calls in flight or retrying, and leaves releases and
  /// renewals over. Null: memory has run out.
  void fail_connection(const IoError* why, TimePoint now) noexcept;
  /// The connection, on which nothing is in flight, is of no use any more.
  void drop(std::error_code why) noexcept;
  /// Drops a connection to a server that is not a primary (any more), once nothing is in flight.
  void drop_outdated() noexcept;
  /// Leaves a stale connection over, unless a call awaits a reply on it.
  void retire_if_stale(TimePoint now) noexcept;
  /// Leaves the connection to a server that is known to be no primary any more, once no call awaits
  /// a reply there: nothing more is sent, and replies to releases are still to be read.
  void leave_former_primary(TimePoint now) noexcept;
  /// In a forked child: forgets the connection and all requests. `process`: the child's id.
  void abandon(std::uint32_t process) noexcept;

  // What was sent and received

  /// The bytes to send next, which stay where they are until something is written, or `sent`.
  std::string_view output() const noexcept {
    return connected() ? pipeline_.stream->output() : std::string_view();
  }
  /// The first `count` bytes of `output` were sent.
  void sent(std::size_t count) const noexcept { pipeline_.stream->sent(count); }
  /// Bytes have come. Completes the requests whose replies are whole. Throws `IoError` when the
  /// connection is of no use any more, and `std::bad_alloc`.
  void received(std::string_view bytes, TimePoint now);
  /// The error of a closed connection, with the names of the commands that it may have closed at.
  IoError naming_owed(const IoError& error) const {
    return connected() ? pipeline_.stream->naming_owed(error) : error;
  }
  /// Writes what is to be sent next, if anything may be sent now: refused requests when nothing is
  /// in flight, else what is queued when no call awaits a reply. False when there was nothing.
  /// Validity counts from `now`, so it must not be later than the first byte. Throws
  /// `std::bad_alloc`.
  bool fill(Send which, TimePoint now);

  /// Whether replies may have come that were not read for so long that a look is worth its system
  /// call. The caller reads what is there then.
  bool should_read(TimePoint now) noexcept;
  /// How often an idle connection is looked at, which costs a system call. `usual`: unless it was
  /// used in the last 10 us. `seldom`: unless in the last 5 ms, for a call of a quorum, which can
  /// do without one server.
  enum class Probe { usual, seldom };
  bool should_probe(TimePoint now, Probe probe) const noexcept;
  /// Whether there are bytes behind the last reply that was awaited.
  bool in_sync() const noexcept { return pipeline_.stream->in_sync(); }

  /// Whether the first request in flight is late. A pause of this process must not be taken for the
  /// server's silence: the caller reads what has come, then calls `begin_grace`.
  bool is_overdue(TimePoint now) const noexcept;
  /// Starts the grace period of the first request in flight, if that is overdue still.
  void begin_grace(TimePoint now) noexcept;
  /// The server has sent something, which is not to be received yet.
  void note_sign_of_life(TimePoint now) noexcept {
    used_ = now;
    missing_from_ = TimePoint::max();
  }
  /// Whether the first request in flight is overdue, and its grace period is over.
  bool is_stale(TimePoint now) const noexcept;
  /// When the commands were sent whose replies come next; nothing if none are to come.
  std::optional<TimePoint> awaited_since() const noexcept;
  /// When the first request in flight, which must exist, gets overdue or stale.
  TimePoint next_verdict(TimePoint now) const noexcept;
  /// The grace period for a reply whose time was found to be over for `late`: at least 10 ms, since
  /// the leader needs a moment to read it, and at most 100 ms. The process may have been stopped,
  /// and the reply be there, or come at once.
  static constexpr TimePoint::duration grace_for(TimePoint::duration late) noexcept {
    return std::clamp<TimePoint::duration>(late, std::chrono::milliseconds(10),
                                           std::chrono::milliseconds(100));
  }

  // Requests

  /// Queues the request of a call. `now` matters to a request with a WAIT only, whose time counts
  /// from then. Throws `std::bad_alloc`, like the next two.
  void queue(Call& call, TimePoint now);
  /// Queues a release.
  void queue(std::string_view key, const CleanupRelease& cleanup, TimePoint now);
  /// Queues a renewal.
  void queue(Lease& renewed);
  /// Queues releases that were left over.
  void queue(PendingRequests releases) noexcept;

  /// Abandons a call whose thread stops waiting; the connection lives on. A cleanup release is
  /// queued behind a request in doubt, where no connection can let it arrive earlier, unless the
  /// server `is_one_of_several`.
  void give_up(Call& call, Errc code, const char* why, TimePoint now) noexcept;
  /// Abandons a call whose time is over.
  void give_up_late(Call& call, TimePoint now) noexcept;
  /// Fails a queued call. Null: memory has run out.
  void fail_queued(Call& call, const IoError* why) noexcept;
  /// Fails all queued calls, and leaves queued releases and renewals over.
  void fail_queued(const IoError& why, TimePoint now) noexcept;
  /// Without a connection: leaves queued releases and renewals over, for this reason.
  void leave_queued_over(Errc why, TimePoint now, std::string_view explanation = {}) noexcept;
  /// Leaves refused releases and renewals over, although requests before them may be in flight.
  void leave_retries_over(TimePoint now) noexcept;

  /// Whether a call awaits a reply.
  bool awaited() const noexcept { return waiting_ > 0; }
  bool all_answered() const noexcept { return pipeline_.in_flight.empty(); }
  /// Whether requests were refused, and are retried or wait for that; abandoned ones do not count.
  bool has_retrying() const noexcept {
    return !retrying_.empty() || (retry_.in_progress() && !retry_.is_abandoned());
  }
  /// Whether a request has the connection to itself, so that nothing can be written.
  bool is_exclusive() const noexcept { return retry_.in_progress(); }
  bool has_queued() const noexcept { return !queue_.empty(); }
  bool has_renewals() const noexcept;
  /// Whether replies or retries are outstanding, with or without calls that await them.
  bool owes() const noexcept { return !all_answered() || !retrying_.empty(); }
  /// Which releases are outstanding.
  struct Owed {
    bool release = false;  // of one of the keys in question
    bool several = false;  // of several keys at once, whichever keys these are
  };
  Owed owed(const Keys& keys) const noexcept;
  /// Whether this server takes the command only with exclusive use of the connection.
  bool needs_exclusive_use(const protocol::Command& command) const noexcept {
    return pipeline_.forms.needs_exclusive_use({&command, 1});
  }
  /// Whether the last retry ran out of time, so that the next one may, too.
  bool retried_late() const noexcept { return retried_late_; }
  /// The call to appoint as the next leader: the first that can lead of those in flight, retrying
  /// and queued. Null if there is none.
  Call* next_leader() const noexcept;

  /// Makes a call the leader, and queues it to be woken.
  void appoint(Call& call) noexcept {
    assert(!call.done() && call.poll_notifier == nullptr);
    to_wake_.appoint(call);
  }
  /// Has all queued calls compute their deadlines anew.
  void wake_queued() noexcept;
  /// The calls to wake once the mutex is released: their states have changed.
  WakeQueue take_calls_to_wake() noexcept { return to_wake_.take(); }

  /// What has to be handed on since the last time, before the mutex is released.
  bool has_leftovers() const noexcept { return !leftovers_.empty(); }
  Leftovers take_leftovers() noexcept { return std::exchange(leftovers_, {}); }
  /// Takes the nodes of leftovers back for later requests.
  void recycle(PendingRequests requests) noexcept;

  /// For assertions: each request has the status of its list, `waiting_` is the number of calls in
  /// flight or retrying, at most one call leads, and a retry has the connection to itself.
  bool is_consistent() const noexcept;

 private:
  using Ending = PendingRequest::Ending;

  CombinedWait combined_wait() noexcept;
  bool write_queued(Send which, TimePoint now);
  /// What becomes of a queued request when a batch is written.
  enum class Turn { write, skip, retry };
  Turn turn_of(PendingRequests::iterator pending, Send which, TimePoint now);
  void append_queued(PendingRequests::iterator pending, CombinedWait& wait, TimePoint now);
  bool write_retries(TimePoint now);
  bool can_be_resent(const PendingRequest& refused) const noexcept;
  void resend_refused(TimePoint now);
  void deliver(TimePoint now) noexcept;
  void deliver_retry(TimePoint now) noexcept;
  void retry_later(PendingRequests::iterator pending, TimePoint now) noexcept;
  void retry_later(PendingRequests::iterator refused) noexcept;
  void drop_unwanted(TimePoint now) noexcept;
  bool is_unwanted(const PendingRequest& refused, TimePoint now) const noexcept;
  void answer(PendingRequests& from, TimePoint now) noexcept;
  void note_redirect(const PendingRequest& pending) noexcept;
  void answer_release(PendingRequests& from, TimePoint now) noexcept;
  void fail_late(PendingRequests& from, const char* why, TimePoint now) noexcept;
  /// Writes into the response when the request was sent, and on which connection.
  void note_sent(const PendingRequest& pending) const noexcept;
  void fail(PendingRequests& from, PendingRequests::iterator pending, const IoError* why) noexcept;
  void leave_over(PendingRequests& from, PendingRequests::iterator pending, Ending ending) noexcept;
  void leave_releases_over(PendingRequests& from) noexcept;
  void fail_renewals(PendingRequests& from, std::error_code why) noexcept;
  void mark_queued_overtakable() noexcept;
  void note_doubts(TimePoint now) noexcept;
  void lose_connection(const IoError* why, Errc code, std::error_code event,
                       TimePoint now) noexcept;
  void leave(Errc why, TimePoint now) noexcept;
  void disconnect(Leftovers::Parting parting, std::error_code why) noexcept;
  TimePoint::duration age(TimePoint now) const noexcept;
  TimePoint::duration answer_timeout() const noexcept;
  void note_connection_state(const PendingRequest& pending, TimePoint now) noexcept;
  void note_release(const PendingRequest& pending, TimePoint now) noexcept;

  const Settings& settings_;
  RenewalFilter& renewals_;

  Pipeline pipeline_{};
  std::uint64_t number_ = 0;  // of the connection, among all of the process
  PendingRequests queue_{};
  PendingRequests retrying_{};  // refused, and to be sent in another way, in the order of sending
  RequestRetry retry_{};        // of the only request in flight, if it is in progress
  bool retried_late_ = false;
  KnownScripts known_scripts_{};
  RequestPool pool_{};
  std::size_t waiting_ = 0;  // calls whose request is in flight or retrying
  ConnectSchedule schedule_{};
  /// An acquisition, at one of several servers, that was in doubt when its connection was given up.
  struct Doubt {
    TimePoint until{};  // its lease may last until then
    std::weak_ptr<const void> connection{};
  };
  /// By their values, until their releases end: a server may come and go again and again while the
  /// leases of all of them would last.
  std::map<std::string, Doubt, std::less<>> doubts_{};
  /// The error by which the server says that it is not a primary.
  struct Outdated {
    Errc code{};
    std::string explanation{};
  };
  std::optional<Outdated> outdated_{};
  ReleaseCheck release_check_{};
  TimePoint connected_at_{};
  TimePoint used_{};  // when something was last sent or received
  /// The end of the grace period of the first request in flight, if that is overdue.
  TimePoint missing_from_ = TimePoint::max();
  WakeQueue to_wake_{};
  Leftovers leftovers_{};
};

}  // namespace redlatch::detail
