#include "engine/pending_request.hpp"

#include <algorithm>

#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

namespace {

/// Whether an attempt failed because of the state of the key: the lock is held, or the key is not a
/// lock of this class.
bool is_turned_away(const protocol::Reply& reply) noexcept {
  if (!reply.is_error()) return protocol::vote(reply) == protocol::Vote::no;
  const Errc code = protocol::classify(reply.text);
  return code == Errc::invalid_argument || code == Errc::wrong_type;
}

}  // namespace

bool may_have_acted(const protocol::Command& command, const protocol::Reply& reply) noexcept {
  if (!command.changes_data()) return false;
  return !reply.is_error() ||
         (command.script() != nullptr && protocol::leaves_script_in_doubt(reply.text));
}

void PendingRequest::begin(TimePoint now) noexcept {
  sent_at = now;
  in_doubt_until = {};
  replies.clear();
  change_ends = RespStream::nowhere;
  repeat = superseded = cut_short = shares = false;
  commands = is_background() ? 1 : call->request.commands.size();
  blocks = is_background() ? std::chrono::milliseconds::zero() : call->request.blocks;
}

bool PendingRequest::was_refused() const noexcept {
  for (std::size_t i = 0; i < commands; ++i) {
    const protocol::Reply& reply = replies[i];
    const bool refused = reply.is_error() && (reply.text.starts_with("NOSCRIPT") ||
                                              protocol::may_refuse_command(reply.text));
    if (refused && command(i).script() != nullptr) return true;
  }
  return false;
}

bool PendingRequest::may_have_acted() const noexcept {
  return detail::may_have_acted(command(0), replies.front()) &&
         protocol::vote(replies.front()) != protocol::Vote::no;
}

bool PendingRequest::depends_on(const PendingRequests& refused) const noexcept {
  if (call == nullptr) return false;
  if (blocks > std::chrono::milliseconds::zero() && was_refused()) return true;
  if (call->request.cleanup == nullptr || !is_turned_away(replies.front())) return false;
  const Keys keys(call->request.key, call->request.commands.front());
  return std::any_of(refused.begin(), refused.end(),
                     [&](const PendingRequest& pending) { return pending.gives_up(keys); });
}

bool PendingRequest::supersedes(const PendingRequest& refused) const noexcept {
  // A release names its token, so its retry is harmless at any time.
  if (is_abandoned() || refused.is_release || sent_at < refused.sent_at) return false;
  const protocol::Command newer = command(0);
  const protocol::Command older = refused.command(0);
  return newer.script() != nullptr && older.script() != nullptr &&
         newer.argument(0) == older.argument(0) && newer.argument(1) == older.argument(1);
}

bool PendingRequest::can_be_resent(const KnownScripts& known) const noexcept {
  // Of several commands, the ones that were not refused would be carried out twice.
  if (retried || (commands > 1 && !repeat)) return false;
  for (std::size_t i = 0; i < commands; ++i) {
    const protocol::Script* const script = command(i).script();
    if (script == nullptr) continue;
    if (!known.contain(script)) return false;
    if (replies.size() <= i || !replies[i].text.starts_with("NOSCRIPT")) return false;
  }
  return true;
}

PendingRequests release_of(std::string_view key, const CleanupRelease& cleanup, Routes& routes,
                           TimePoint now) {
  PendingRequests pending(1);
  pending.front().route = routes.pin(key);
  pending.front().is_release = true;
  pending.front().release.begin(key, cleanup, now);
  return pending;
}

}  // namespace redlatch::detail
