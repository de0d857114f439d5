#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <system_error>

#include <redlatch/detail/executor.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/routes.hpp"
#include "engine/call.hpp"
#include "engine/keys.hpp"
#include "engine/known_scripts.hpp"
#include "engine/pending_release.hpp"
#include "engine/pending_renewal.hpp"
#include "net/resp_stream.hpp"

namespace redlatch::detail {

/// Whether the command has changed data, or may have in part, by the reply to it.
bool may_have_acted(const protocol::Command& command, const protocol::Reply& reply) noexcept;

/// The commands of one request, about one key, and the replies to them: of a call, a release or a
/// renewal. Lives in the lists of a `Multiplexer`, whose mutex guards it, or of the background.
/// List nodes are reused with their memory, so that a request allocates nothing.
struct PendingRequest {
  /// Which list of the multiplexer the request is in.
  enum class Status {
    /// Not sent. Entered at the start; left for `in_flight` when the leader sends a batch, or for
    /// `retrying` when the server takes the command only in a transaction.
    queued,
    /// Sent, and not answered completely. Entered and left by the leader: for the pool when all
    /// replies have come, for `retrying` when the server refused the request. A request with a
    /// `RequestRetry` is in flight, too, and alone.
    in_flight,
    /// Refused, so that it was not carried out. Entered by the leader that reads the refusal; left
    /// by a leader, which sends the request again or in another form, or drops it when it is
    /// superseded by a newer command.
    retrying
  };

  Status status = Status::queued;
  RoutePin route{};          // keeps the key on its connection until the request has ended
  Call* call = nullptr;      // null for a release or a renewal, and when the call was abandoned
  bool is_release = false;   // then `release` has the command
  PendingRelease release{};  // of an abandoned acquisition at one of several servers: its cleanup
  bool is_renewal = false;   // then `renewal` has the command
  PendingRenewal renewal{};

  std::size_t commands = 0;
  std::array<protocol::Expect, max_commands> expected{};
  std::array<protocol::Form, max_commands> forms{};
  /// The end of the first command that changes data, in the bytes of the connection.
  RespStream::Position change_ends = RespStream::nowhere;
  /// How long the last command, a WAIT, asks the server to wait.
  std::chrono::milliseconds blocks{0};
  bool cut_short = false;  // `blocks` is less than the time that the request has for it
  bool shares = false;     // its WAIT is sent with a later request, and so is the reply
  TimePoint queued_at{};   // of a request with a WAIT
  TimePoint sent_at{};
  /// Of an abandoned acquisition that is in doubt: until when its lease may last.
  TimePoint in_doubt_until{};
  Replies replies{};
  bool repeat = false;      // has to be sent again, as a whole
  bool superseded = false;  // a newer command about its lease was carried out: no retry
  bool retried = false;     // was sent again in a batch, after a refusal

  /// How a release or a renewal ended, among the `Leftovers`.
  enum class Ending { released, answered, failed, superseded };
  Ending ending = Ending::answered;
  ReleaseOutcome outcome = ReleaseOutcome::done;  // of a release
  std::error_code why{};                          // of a renewal that failed

  /// Prepares for being sent at `now`.
  void begin(TimePoint now) noexcept;
  bool is_abandoned() const noexcept { return call == nullptr && !is_background(); }
  /// Whether the sink gets the replies, not a call.
  bool is_background() const noexcept { return is_release || is_renewal; }
  /// Whether the server refused a script, or may have, that has another form.
  bool was_refused() const noexcept;
  /// Whether its reply is awaited once the connection is retired: of a release, or of an
  /// acquisition whose cleanup release goes out on another connection, as it may need replies of
  /// its own, or comes later. Until the reply, "not ours" is no final answer to that.
  bool is_awaited_when_retired() const noexcept {
    return is_release || in_doubt_until > TimePoint{};
  }
  /// Whether its first command, of which the others only ask, was carried out, or may have been in
  /// part, whatever became of the others.
  bool may_have_acted() const noexcept;
  /// Whether the replies are void because of requests that were refused: an attempt that failed
  /// behind a refused release of its key, or a WAIT behind a change that was refused itself.
  bool depends_on(const PendingRequests& refused) const noexcept;
  /// Whether this request was carried out behind `refused`, about the same lease. A retry of
  /// `refused` would undo this: a renewal that is retried behind a longer extension cuts the lease.
  bool supersedes(const PendingRequest& refused) const noexcept;
  /// Whether this is a release of one of the keys.
  bool gives_up(const Keys& keys) const noexcept {
    return is_release && Keys(release.key(), release.command()).meet(keys);
  }
  /// Whether a batch can simply contain it again after the refusal: once, and only if the server
  /// lacked nothing but scripts that it knows by now.
  bool can_be_resent(const KnownScripts& known) const noexcept;
  bool complete() const noexcept { return replies.size() == commands; }
  /// Whether its first command goes behind ASKING.
  bool asks() const noexcept {
    if (is_release) return release.asks();
    return is_renewal ? renewal.asks : call != nullptr && call->request.asks;
  }
  /// How many replies are to commands of its own, without a shared WAIT.
  std::size_t own_replies() const noexcept { return shares ? commands - 1 : commands; }
  /// Whether the request ends with a WAIT.
  bool may_block() const noexcept {
    return call != nullptr && call->request.blocks > std::chrono::milliseconds::zero();
  }
  /// What is left at `now` of the time that the request has for its WAIT.
  std::chrono::milliseconds time_to_block(TimePoint now) const noexcept {
    constexpr std::chrono::milliseconds min_time{1};  // 0 would block without end
    const auto waited = std::chrono::floor<std::chrono::milliseconds>(now - queued_at);
    return std::max(call->request.blocks - waited, min_time);
  }
  const protocol::Command& last_command() const { return call->request.commands.back(); }
  protocol::Command command(std::size_t i) const {
    if (is_release) return release.command();
    return is_renewal ? renewal.command.view() : call->request.commands[i];
  }
};

/// A list of one release.
PendingRequests release_of(std::string_view key, const CleanupRelease& cleanup, Routes& routes,
                           TimePoint now);

/// Requests to be reused with the memory that they have.
class RequestPool {
 public:
  /// Appends a request to the list. Throws `std::bad_alloc`.
  PendingRequests::iterator take(PendingRequests& to) {
    if (spare_.empty()) spare_.emplace_back();
    to.splice(to.end(), spare_, spare_.begin());
    return std::prev(to.end());
  }
  /// Takes a request out of its list, at its end.
  void put_away(PendingRequests& from, PendingRequests::iterator pending) noexcept {
    pending->call = nullptr;
    pending->route = {};
    pending->is_release = pending->is_renewal = false;
    pending->status = PendingRequest::Status::queued;
    spare_.splice(spare_.begin(), from, pending);
    // Releases from the background come with nodes of their own, so the pool would only grow.
    if (spare_.size() > max_spare) spare_.pop_back();
  }

 private:
  static constexpr std::size_t max_spare = 1024;

  PendingRequests spare_{};
};

}  // namespace redlatch::detail
