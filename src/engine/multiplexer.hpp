#pragma once

#include <algorithm>
#include <array>
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

class SharedQuestion;

/// A connection, and the exchanges about to be said on it, said and unanswered, or answered in a
/// way that something can be done about.
///
/// An exchange is in `queue_`, then in `pipeline_.in_flight`, perhaps in `retrying_`, and at last
/// back in the pool. The channel's mutex guards all of that. Whoever leads the channel is the only
/// one to use the connection, and to take an exchange out of any list but the queue; where a guard
/// is handed over, the mutex is released while the server is waited for.
class Multiplexer {
 public:
  using Guard = std::unique_lock<std::mutex>;
  /// Which of the queued are sent: all of them, those without a caller, or of these the releases.
  enum class Send { all, background, releases };

  Multiplexer(const Settings& settings, CompletionSink& sink) : settings_(settings), sink_(sink) {}

  bool connected() const noexcept { return pipeline_.connection != nullptr; }
  int fd() const noexcept { return connected() ? pipeline_.connection->fd() : -1; }
  void connected_by(std::unique_ptr<Connection> connection,
                    std::shared_ptr<const void> alive) noexcept;
  /// Drops a connection that the server has closed, leaves unanswered for too long, or on which it
  /// has said what nobody asked for.
  /// Somebody who asks several servers can do without a look at one that was used lately.
  enum class Probe { usual, seldom };
  void refresh(TimePoint now, Probe probe = Probe::usual);
  /// Leaves the connection to the background when the server takes too long to answer.
  void retire_if_stale() noexcept;
  bool is_stale() const noexcept;
  /// How much longer an answer is waited for when its time was found to be over so `late`: the
  /// process may have stood still, so that an answer is there, or comes at once, and the leader
  /// needs a moment to read it.
  static constexpr TimePoint::duration grace_for(TimePoint::duration late) noexcept {
    return std::clamp<TimePoint::duration>(late, std::chrono::milliseconds(10),
                                           std::chrono::milliseconds(100));
  }
  /// A pause of this process must not be taken for the server's silence: what has come is read
  /// before that is judged.
  void read_before_judging();
  /// Drops a connection to a server that is no primary (any more), once everything on it is
  /// answered.
  void drop_outdated() noexcept;
  ConnectSchedule& schedule() noexcept { return schedule_; }
  /// The connection is lost. Null: because memory has run out.
  void fail_connection(const IoError* why) noexcept;
  void abandon(bool in_use) noexcept;

  /// The caller's place in the queue. May throw `std::bad_alloc`.
  void queue(Call& call);
  void queue(std::string_view key, const CleanupRelease& cleanup);
  void queue(Lease& renewed);
  void queue(PendingRequests releases) noexcept { queue_.splice(queue_.end(), releases); }
  /// Says what is queued, up to the first caller that needs a conversation. False when there was
  /// nothing to say. Validity counts from `now`, which must not be later than the first byte.
  bool send_queued(Send whose, TimePoint now);
  void flush(TimePoint end, Guard& guard) const {
    const Unlocked unlocked(guard);
    pipeline_.connection->flush(end);
  }
  void try_flush(Guard& guard) const {
    const Unlocked unlocked(guard);
    pipeline_.connection->try_flush();
  }
  /// Waits for answers and gives them to their owners.
  void read(TimePoint end, Guard& guard);
  void receive_available();
  /// Says in other ways what the server refused, up to the first request of a caller that can do
  /// that in its own time, unless that is `leader`. Nothing must be unanswered. Once the server
  /// knows a script again, those behind which lacked it are said in a batch, whose answers are to
  /// come. What has no time until `end` is left for the next time; throws `IoError` then if there
  /// is a leader.
  void retry_refused(TimePoint end, const Call* leader, Guard& guard);
  /// The caller of the first refused request, if it can lead.
  Call* first_refused() const noexcept;
  /// Says a queued request in a conversation. Nothing must be unanswered.
  void run_exclusively(Call& call, TimePoint end, Guard& guard);

  bool awaited() const noexcept { return waiting_ > 0; }
  bool all_answered() const noexcept { return pipeline_.in_flight.empty(); }
  bool has_retrying() const noexcept { return !retrying_.empty(); }
  bool has_queued() const noexcept { return !queue_.empty(); }
  /// Whether somebody has to go on with it, even when nobody waits for an answer.
  bool owes() const noexcept { return !all_answered() || has_retrying(); }
  struct Owed {
    bool release = false;  // of one of the keys in question
    bool several = false;  // the release of several keys, whichever they are
  };
  /// Which releases are still to be answered here.
  Owed owed(const Keys& keys) const noexcept;
  /// The first in the queue, if it needs a conversation. It can lead: several servers are only
  /// asked by scripts.
  Call* needs_exclusive_use() const noexcept;
  bool needs_exclusive_use(const protocol::Command& command) const noexcept;
  /// Who could lead next, or null. Not those who are elsewhere.
  Call* next_leader() const noexcept;

  /// The caller does not wait any longer. The connection goes on; what the caller asked for is
  /// taken back behind the command itself, where nothing can overtake it, unless it has a bell: who
  /// asks several servers knows better whether that is wanted.
  void give_up(Call& call, Errc code, const char* why) noexcept;
  /// A queued caller, or all of them. Null: memory has run out.
  void fail_queued(Call& call, const IoError* why) noexcept;
  void fail_queued(const IoError& why) noexcept;
  /// Without a connection, for this reason: leaves what nobody waits for to the background.
  void repeat_releases_later(Errc why) noexcept;
  bool has_renewals() const noexcept;
  /// The same for the refused, whatever is unanswered before them.
  void leave_retries_open() noexcept;

  void appoint(Call& call) noexcept { to_wake_.appoint(call); }
  /// Has the queued callers look at the time again.
  void wake_queued() noexcept;
  bool has_calls_to_wake() const noexcept { return !to_wake_.empty(); }
  /// Wakes those whose state has changed. Releases the mutex, and does not take it again.
  void wake(Guard& guard) noexcept { to_wake_.wake(guard); }

 private:
  SharedQuestion shared_question() noexcept;
  void deliver() noexcept;
  void drop_unwanted() noexcept;
  bool is_unwanted(const PendingRequest& refused) const noexcept;
  void send_again(Guard& guard);
  std::span<const protocol::Script* const> known() const noexcept {
    return {texts_.data(), texts_sent_};
  }
  void note_known(const protocol::Script* script) noexcept;
  template <class Conversation>
  void run_exclusively_with(PendingRequest& about, Guard& guard, Conversation conversation);
  void answer(PendingRequests& from) noexcept;
  void fail_refused(PendingRequests::iterator pending) noexcept;
  /// Leaves with the caller when its request was sent, and on which connection.
  void note_sent(const PendingRequest& pending) const noexcept;
  void fail(PendingRequests& from, PendingRequests::iterator pending, const IoError* why) noexcept;
  void let_be_overtaken() noexcept;
  void fail_renewals(PendingRequests& from, std::error_code why) noexcept;
  bool is_overdue() const noexcept;
  TimePoint::duration age() const noexcept;
  TimePoint::duration answer_timeout() const noexcept;
  void note_end(std::error_code why) const noexcept;
  void note_connection_state(const PendingRequest& pending) noexcept;
  void note_release(const PendingRequest& pending) noexcept;
  bool is_for_ever(const Call& call) const noexcept;
  void probe_releases(const Call& call, TimePoint now);

  const Settings& settings_;
  CompletionSink& sink_;

  Pipeline pipeline_{};
  std::uint64_t number_ = 0;  // of the connection, among all of the process
  PendingRequests queue_{};
  PendingRequests
      retrying_{};  // refused for a reason that something can be done about, in their order
  /// Scripts whose text was sent since the server last lacked one.
  std::array<const protocol::Script*, 8> texts_{};
  std::size_t texts_sent_ = 0;
  RequestPool pool_{};
  std::size_t waiting_ = 0;  // callers whose request was said
  ConnectSchedule schedule_{};
  std::optional<Errc> outdated_{};  // what the server said of itself
  /// The answer to a release that the server can never carry out, since it lacks a command.
  std::optional<IoError> no_releases_{};
  TimePoint no_releases_until_{};
  TimePoint next_release_probe_{};
  TimePoint::duration retry_took_{};  // the last one in a conversation
  TimePoint connected_at_{};
  TimePoint used_{};  // when something was last sent or received
  /// When an answer that was found to be overdue, although all was read, counts as missing.
  TimePoint missing_from_ = TimePoint::max();
  WakeQueue to_wake_{};
};

}  // namespace redlatch::detail
