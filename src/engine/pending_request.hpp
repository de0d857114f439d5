#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <span>
#include <string_view>

#include <redlatch/detail/executor.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/routes.hpp"
#include "engine/call.hpp"
#include "engine/keys.hpp"
#include "engine/pending_release.hpp"
#include "engine/pending_renewal.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// What was said in one go about one key, or is about to be, and the replies to it. Nodes of a list
/// are used again and again, and keep their memory.
struct PendingRequest {
  enum class Status { queued, in_flight, retrying };

  Status status = Status::queued;
  RoutePin route{};         // until it is put away, or ends in another way
  Call* call = nullptr;     // null when nobody waits for the answer, or not any more
  bool is_release = false;  // then `release` says what it is about
  PendingRelease release{};
  bool is_renewal = false;  // the same for `renewal`
  PendingRenewal renewal{};

  std::size_t commands = 0;
  std::array<protocol::Expect, max_commands> expected{};
  std::array<protocol::Form, max_commands> forms{};
  Connection::Position change_ends = RespStream::nowhere;  // of the first command that changes data
  /// How long the server is asked to wait for the answer to the last command.
  std::chrono::milliseconds blocks{0};
  bool cut_short = false;  // which is less than the request has
  bool shares = false;     // the last command is said, and answered, with that of a later exchange
  TimePoint queued_at{};   // of one that blocks
  TimePoint sent_at{};
  Replies replies{};
  bool repeat = false;      // has to be said once more, as a whole
  bool superseded = false;  // a newer command about its lease was carried out: no retry
  bool retried = false;     // was said once more, in a batch, after a refusal

  /// Before it is said at `now`.
  void begin(TimePoint now) noexcept;
  bool is_abandoned() const noexcept { return call == nullptr && !is_background(); }
  /// Whether nobody waits for the answer, but somebody wants it.
  bool is_background() const noexcept { return is_release || is_renewal; }
  /// Whether a script was refused, or may have been, that can be said in another way.
  bool was_refused() const noexcept;
  /// Whether a script was answered with an error behind which it may have been carried out.
  bool is_in_doubt() const noexcept;
  /// Whether the replies are worth nothing because of what was refused: an attempt that failed only
  /// behind a refused release, or a question about a change that was refused itself.
  bool depends_on(const PendingRequests& refused) const noexcept;
  /// Whether this was carried out behind a refused command about the same lease. To retry that one
  /// now would undo this: a renewal that is retried behind a longer extension cuts the lease.
  bool supersedes(const PendingRequest& refused) const noexcept;
  /// Whether this is a release of one of the keys.
  bool gives_up(const Keys& keys) const noexcept {
    return is_release && Keys(release.key(), release.command()).meet(keys);
  }
  /// Whether it can simply be said again, in a batch, after a refusal: once, and only where the
  /// server lacked nothing but these scripts, which it has now.
  bool can_be_sent_again(std::span<const protocol::Script* const> known) const noexcept;
  /// Says what was refused in other ways, or everything again if it is to be repeated.
  void retry_refused(Connection& connection, TimePoint end);
  bool complete() const noexcept { return replies.size() == commands; }
  /// How many of the replies are to commands that were said for this exchange.
  std::size_t own_replies() const noexcept { return shares ? commands - 1 : commands; }
  /// Whether the server may be asked to wait.
  bool is_to_block() const noexcept {
    return call != nullptr && call->request.blocks > std::chrono::milliseconds::zero();
  }
  /// How long it may ask the server to wait, of all the time that its request has for that.
  std::chrono::milliseconds time_to_block(TimePoint now) const noexcept {
    constexpr std::chrono::milliseconds least{1};  // 0 would be for ever
    const auto waited = std::chrono::floor<std::chrono::milliseconds>(now - queued_at);
    return std::max(call->request.blocks - waited, least);
  }
  const protocol::Command& last_command() const { return call->request.commands.back(); }
  protocol::Command command(std::size_t i) const {
    if (is_release) return release.command();
    return is_renewal ? renewal.command.view() : call->request.commands[i];
  }
};

/// A list of one release.
PendingRequests release_of(std::string_view key, const CleanupRelease& cleanup, Routes& routes);

/// Exchanges that are used again and again, since they keep their memory.
class RequestPool {
 public:
  /// Puts one at the end of the list. May throw `std::bad_alloc`.
  PendingRequests::iterator take(PendingRequests& to) {
    if (spare_.empty()) spare_.emplace_back();
    to.splice(to.end(), spare_, spare_.begin());
    return std::prev(to.end());
  }
  void put_away(PendingRequests& from, PendingRequests::iterator pending) noexcept {
    pending->call = nullptr;
    pending->route = {};
    pending->is_release = pending->is_renewal = false;
    pending->status = PendingRequest::Status::queued;
    spare_.splice(spare_.begin(), from, pending);
    // Those that came from the background are never wanted back.
    if (spare_.size() > max_spare) spare_.pop_back();
  }

 private:
  static constexpr std::size_t max_spare = 1024;

  PendingRequests spare_{};
};

}  // namespace redlatch::detail
