#include "net/connection.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "base/io_error.hpp"
#include "net/resolver.hpp"

namespace redlatch::detail {

using protocol::Command;
using protocol::Expect;
using protocol::Form;
using protocol::Reply;

namespace {

/// Whether the reply is an error of an unknown kind, which may be a refusal.
bool is_odd(const Reply& reply) noexcept {
  return reply.is_error() && !protocol::refuses_command(reply.text) &&
         protocol::may_refuse_command(reply.text);
}

/// A refusal whose text the callers recognise, where the text of the server is not known.
Reply refused_for_certain(Reply refusal) {
  if (is_odd(refusal)) refusal.text = protocol::as_refusal(refusal.text);
  return refusal;
}

/// The name of the command that sends the call in that form, or the beginning of such names.
std::string_view name_of(Form form) noexcept {
  switch (form) {
    case Form::script:
      return "EVAL";
    case Form::delex:
      return "DELEX";
    case Form::delifeq:
      return "DELIFEQ";
    case Form::set_ifeq:
      return "SET";
    case Form::watch:
      break;
  }
  return "WATCH";
}

/// Whether the server may have carried out a release that it answered with this error.
bool may_have_released(const Reply& refusal, Form form) noexcept {
  return is_odd(refusal) && !protocol::refuses_by_name(refusal.text, name_of(form));
}

/// A script's error of an unknown kind is a refusal only when `are_scripts_refused` has found that.
/// In another form it may be one, and to retry the call in yet another form does no harm.
bool is_refusal(const Reply& reply, Form form) noexcept {
  if (!reply.is_error()) return false;
  return form == Form::script ? protocol::refuses_command(reply.text)
                              : protocol::may_refuse_command(reply.text);
}

}  // namespace

Connection::Connection(const Settings& settings, TimePoint deadline, int cancel)
    : Connection(log_in(settings, deadline, cancel), settings, cancel) {}

Connection::Connection(LoggedIn made, const Settings& settings, int cancel)
    : wire_(std::move(made.wire)),
      resolver_(settings.resolver),
      closings_(settings.closings),
      address_(made.address),
      only_scripts_(settings.role.only_scripts),
      first_abilities_(made.abilities.value_or(protocol::Abilities{.scripts = true})),
      abilities_(first_abilities_),
      asked_for_abilities_(made.abilities.has_value()) {
  wire_.transport().begin_waiting({.usual = settings.options.command_timeout,
                                   .busy_poll = settings.options.busy_poll,
                                   .cancel = cancel});
}

bool Connection::needs_exclusive_use(std::span<const Command> commands) const noexcept {
  return std::any_of(commands.begin(), commands.end(),
                     [&](const Command& command) { return form_of(command) == Form::watch; });
}

void Connection::append(const Command& command, Form form) {
  assert(form != Form::watch);
  wire_.stream().append(form == Form::script ? command : protocol::native_command(form, command));
}

void Connection::run(std::span<const Command> commands, Replies& replies, TimePoint deadline) {
  assert(wire_.stream().owed() == 0);
  replies.clear();
  for (const Command& command : commands) {
    const Form form = form_of(command);
    if (form == Form::watch) {
      replies.push_back(retry_refused(command, form, run_guarded(command, deadline), deadline));
    } else {
      append(command, form);
      wire_.flush(deadline);
      replies.push_back(retry_refused(
          command, form, wire_.receive(protocol::expect_of(command, form), deadline), deadline));
    }
  }
}

Reply Connection::retry_refused(const Command& call, Form form, Reply refusal, TimePoint deadline) {
  if (call.script() == nullptr) return refusal;
  const bool only_by_script =
      only_scripts_ || call.script()->effect == protocol::Script::Effect::other;
  const bool releases = call.script()->effect == protocol::Script::Effect::remove;
  std::optional<Reply> doubtful;
  // Of a batch, what is behind the first need not be found out.
  const auto is_known = [&](const Reply& reply) {
    return !only_by_script && !abilities_.scripts && is_odd(reply);
  };
  for (;;) {
    if (form == Form::script && refusal.text.starts_with("NOSCRIPT")) {
      refusal = send_and_receive(call, deadline, ScriptCall::by_text);
    }
    if (releases && !doubtful && may_have_released(refusal, form)) doubtful = refusal;
    if (form == Form::script &&
        (is_known(refusal) || are_scripts_refused(call, refusal, deadline))) {
      refusal = refused_for_certain(std::move(refusal));
    }
    if (!is_refusal(refusal, form) || only_by_script) {
      // The key may be gone by the attempt before.
      const bool is_gone = protocol::vote(refusal) == protocol::Vote::no;
      return doubtful && is_gone ? *std::move(doubtful) : refusal;
    }
    if (!give_up(form, deadline)) return refusal;
    form = protocol::form_for(*call.script(), abilities_);
    refusal = form == Form::watch
                  ? run_guarded(call, deadline)
                  : send_and_receive(protocol::native_command(form, call), deadline);
  }
}

/// False when no other form is left.
bool Connection::give_up(Form form, TimePoint deadline) {
  if (!protocol::drop(form, abilities_)) {
    // All forms were refused, perhaps only for a moment, as while an ACL is being changed: the next
    // call begins with the first form again.
    abilities_ = first_abilities_;
    asked_for_abilities_ = !first_abilities_.scripts;
    return false;
  }
  if (asked_for_abilities_) return true;
  asked_for_abilities_ = true;
  abilities_ = protocol::read_abilities({});  // as little as none
  if (closings_->in_a_row(Closings::Step::abilities) > 0) return true;
  abilities_ = protocol::read_abilities(note_closed_at(Closings::Step::abilities, [&] {
    return send_and_receive(protocol::ask_abilities(), deadline);
  }));
  return true;
}

/// Remembers whether the server, or a proxy, closed the connection during `talk`.
template <class Talk>
Reply Connection::note_closed_at(Closings::Step step, Talk talk) {
  const TimePoint begun = BootClock::now();
  try {
    Reply reply = talk();
    closings_->note_answered(step);
    return reply;
  } catch (const IoError& error) {
    if (error.code() == Errc::unreachable) closings_->note_closed(step, begun);
    throw;
  }
}

/// Whether an error of an unknown kind refuses scripts: when the server refuses a harmless script
/// in both forms, but not another command.
bool Connection::are_scripts_refused(const Command& call, const Reply& refusal,
                                     TimePoint deadline) {
  if (!is_odd(refusal)) return false;
  const Command harmless(protocol::harmless_script, call.argument(0));
  const Command other(Expect::anything, "GETRANGE", call.argument(0), std::int64_t{0},
                      std::int64_t{0});
  wire_.stream().append(harmless, ScriptCall::by_text);
  wire_.stream().append(harmless, ScriptCall::by_hash);
  wire_.stream().append(other);
  wire_.flush(deadline);
  const Reply by_text = answer(harmless, deadline);
  const Reply by_hash = answer(harmless, deadline);
  return protocol::are_scripts_refused(by_text, by_hash, answer(other, deadline));
}

/// redis.io/docs/latest/develop/interact/transactions, "optimistic locking using check-and-set"
Reply Connection::run_guarded(const Command& call, TimePoint deadline) {
  // A single time may have been the end of the server.
  if (closings_->in_a_row(Closings::Step::transaction) > 1) {
    return {.kind = Reply::Kind::error, .text = protocol::as_refusal("WATCH ends the connection")};
  }
  return note_closed_at(Closings::Step::transaction, [&] { return retry_guarded(call, deadline); });
}

Reply Connection::retry_guarded(const Command& call, TimePoint deadline) {
  for (;;) {
    if (std::optional<Reply> reply = try_guarded(call, deadline)) return *std::move(reply);
    if (BootClock::now() >= deadline) {
      throw IoError(Errc::timed_out, "the key kept changing for all of command_timeout");
    }
  }
}

/// Nothing when another client has changed the key in between.
std::optional<Reply> Connection::try_guarded(const Command& call, TimePoint deadline) {
  const std::string_view key = call.argument(0);
  const std::string_view token = call.argument(1);
  const Command exec(Expect::array_or_nil, "EXEC");
  // Where MULTI is refused, the change would be made at once: MULTI is sent, and answered, before
  // it. At most one byte more than the token is read, however long the value is. EXISTS tells an
  // absent key from one with an empty value, which is another program's.
  const std::array opening{Command(Expect::status, "WATCH", key),
                           Command(Expect::integer, "EXISTS", key),
                           Command(Expect::text_or_nil, "GETRANGE", key, std::int64_t{0},
                                   static_cast<std::int64_t>(token.size())),
                           Command(Expect::status, "MULTI")};
  for (const Command& command : opening) wire_.stream().append(command);
  wire_.flush(deadline);
  Reply watched = answer(opening[0], deadline);
  const Reply exists = answer(opening[1], deadline);
  Reply holder = answer(opening[2], deadline);
  Reply begun = answer(opening[3], deadline);
  if (exists.is_error()) holder = exists;
  if (begun.is_error()) return refused_for_certain(watched.is_error() ? watched : begun);
  // An absent key is written to as well: see exclusive.hpp.
  const bool theirs = exists.integer != 0 && holder.text != token;
  const bool changes = !watched.is_error() && !holder.is_error() && !theirs;
  const Command change = protocol::guarded_change(call);
  if (changes) wire_.stream().append(change);
  wire_.stream().append(exec);
  wire_.flush(deadline);
  Reply queued = changes ? answer(change, deadline) : Reply{};
  Reply done = answer(exec, deadline);
  if (watched.is_error()) return refused_for_certain(watched);
  if (holder.is_error()) return refused_for_certain(holder);
  if (theirs) return Reply{.kind = Reply::Kind::integer};
  if (queued.is_error()) return queued;
  if (done.elements.size() == 1) return std::move(done.elements.front());
  if (done.is_error()) return done;
  return std::nullopt;
}

Reply Connection::send_and_receive(const Command& command, TimePoint deadline, ScriptCall call) {
  wire_.stream().append(command, call);
  wire_.flush(deadline);
  return answer(command, deadline);
}

Reply Connection::answer(const Command& command, TimePoint deadline) {
  return wire_.receive(command.expect(), deadline);
}

}  // namespace redlatch::detail
