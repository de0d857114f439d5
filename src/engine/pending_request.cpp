#include "engine/pending_request.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

namespace {

/// Whether somebody has what was asked for, or something else is there.
bool is_turned_away(const protocol::Reply& reply) noexcept {
  if (!reply.is_error()) return protocol::verdict(reply) == protocol::Verdict::no;
  const Errc code = protocol::classify(reply.text);
  return code == Errc::invalid_argument || code == Errc::wrong_type;
}

}  // namespace

void Exchange::begin(TimePoint now) noexcept {
  said = now;
  replies.clear();
  change_ends = Connection::nowhere;
  repeat = superseded = cut_short = shares = false;
  commands = is_nobodys() ? 1 : caller->request.commands.size();
  blocks = is_nobodys() ? std::chrono::milliseconds::zero() : caller->request.blocks;
}

bool Exchange::was_refused() const noexcept {
  for (std::size_t i = 0; i < commands; ++i) {
    const protocol::Reply& reply = replies[i];
    const bool refused = reply.is_error() && (reply.text.starts_with("NOSCRIPT") ||
                                              protocol::may_refuse_command(reply.text));
    if (refused && command(i).script() != nullptr) return true;
  }
  return false;
}

bool Exchange::is_in_doubt() const noexcept {
  for (std::size_t i = 0; i < commands; ++i) {
    const protocol::Reply& reply = replies[i];
    if (command(i).script() != nullptr && reply.is_error() &&
        protocol::leaves_script_in_doubt(reply.text)) {
      return true;
    }
  }
  return false;
}

bool Exchange::depends_on(const Exchanges& refused) const noexcept {
  if (caller == nullptr) return false;
  if (blocks > std::chrono::milliseconds::zero() && was_refused()) return true;
  if (caller->request.undo == nullptr || !is_turned_away(replies.front())) return false;
  const Keys keys(caller->request.key, caller->request.commands.front());
  return std::any_of(refused.begin(), refused.end(),
                     [&](const Exchange& one) { return one.gives_up(keys); });
}

bool Exchange::supersedes(const Exchange& refused) const noexcept {
  // A release names the token, so that it may come at any time.
  if (is_abandoned() || refused.is_release || said < refused.said) return false;
  const protocol::Command newer = command(0);
  const protocol::Command older = refused.command(0);
  return newer.script() != nullptr && older.script() != nullptr &&
         newer.argument(0) == older.argument(0) && newer.argument(1) == older.argument(1);
}

bool Exchange::can_be_said_again(std::span<const protocol::Script* const> known) const noexcept {
  // Of several commands, those that were not refused would be carried out twice.
  if (retried || (commands > 1 && !repeat)) return false;
  for (std::size_t i = 0; i < commands; ++i) {
    const protocol::Script* const script = command(i).script();
    if (script == nullptr) continue;
    if (std::find(known.begin(), known.end(), script) == known.end()) return false;
    if (replies.size() <= i || !replies[i].text.starts_with("NOSCRIPT")) return false;
  }
  return true;
}

Exchanges release_of(std::string_view key, const Undo& undo, Routes& routes) {
  Exchanges one(1);
  one.front().route = routes.pin(key);
  one.front().is_release = true;
  one.front().release.begin(key, undo, BootClock::now());
  return one;
}

void Exchange::mend(Session& session, TimePoint end) {
  if (repeat) {
    said = BootClock::now();
    cut_short = shares = false;
    if (is_to_block()) {
      std::vector<protocol::Command> all(caller->request.commands.begin(),
                                         caller->request.commands.end());
      all.back() = last_command().with_last(time_to_block(said));
      return session.run(all, replies, end);
    }
    if (caller != nullptr) return session.run(caller->request.commands, replies, end);
    const protocol::Command again = command(0);
    return session.run({&again, 1}, replies, end);
  }
  for (std::size_t i = 0; i < commands; ++i) {
    replies[i] = session.mend(command(i), forms[i], std::move(replies[i]), end);
  }
}

}  // namespace redlatch::detail
