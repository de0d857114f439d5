#include "session.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "io_error.hpp"

namespace redlatch::detail {

using protocol::Command;
using protocol::Expect;
using protocol::Form;
using protocol::Reply;

namespace {

/// Scripts are loaded ahead, so that the first release is not answered with NOSCRIPT.
constexpr std::array scripts{&protocol::release_script, &protocol::extend_script};

/// Throws when the server refuses a client for good, whatever it was asked.
void check_admission(const Reply& reply) {
  if (!reply.is_error()) return;
  const Errc code = protocol::classify(reply.text);
  if (code == Errc::authentication_failed || code == Errc::unreachable ||
      reply.text.starts_with("DENIED")) {
    throw IoError(code, protocol::explain(reply.text));
  }
}

void check_login(const Reply& reply) {
  check_admission(reply);
  if (reply.is_error()) {
    throw IoError(Errc::authentication_failed, protocol::explain(reply.text));
  }
}

void check_database(const Reply& reply) {
  check_admission(reply);
  if (!reply.is_error()) return;
  const Errc code = protocol::classify(reply.text);
  throw IoError(code == Errc::protocol_error ? Errc::invalid_argument : code,
                protocol::explain(reply.text) + "; check the database number in the URL");
}

/// INFO subtracts whole seconds from whole seconds, which may be almost one more than it was.
void check_uptime(const Reply& info, std::chrono::milliseconds least) {
  if (info.is_error()) throw IoError(protocol::classify(info.text), protocol::explain(info.text));
  constexpr std::string_view name = "uptime_in_seconds:";
  const std::size_t place = info.text.find(name);
  std::int64_t seconds = 0;
  if (place != std::string::npos) {
    const char* const number = info.text.data() + place + name.size();
    std::from_chars(number, info.text.data() + info.text.size(), seconds);
  }
  if (std::chrono::seconds(seconds - 1) >= least) return;
  throw IoError(
      Errc::not_writable,
      "it has been running for less than min_uptime, so that it may have forgotten locks");
}

}  // namespace

Session::Session(const Settings& settings, TimePoint deadline, int cancel)
    : connection_(settings.endpoint, deadline,
                  {.usual = settings.options.command_timeout,
                   .busy_poll = settings.options.busy_poll,
                   .cancel = cancel}),
      abilities_{.scripts = settings.options.scripting} {
  try {
    greet(settings.endpoint, settings.options, deadline);
    if (settings.min_uptime > std::chrono::milliseconds::zero()) {
      const Command question(Expect::anything, "INFO", "server");
      connection_.append(question);
      connection_.flush(deadline);
      check_uptime(answer(question, deadline), settings.min_uptime);
    }
  } catch (const Cancelled&) {
    throw;
  } catch (const IoError& error) {
    if (error.code() != Errc::timed_out) throw;
    throw IoError(Errc::unreachable, "connected, but no answer within connect_timeout");
  }
}

void Session::greet(const Endpoint& endpoint, const ClientOptions& options, TimePoint deadline) {
  std::vector<std::pair<Command, void (*)(const Reply&)>> greeting;
  if (!endpoint.user.empty()) {
    greeting.emplace_back(Command(Expect::anything, "AUTH", endpoint.user, endpoint.password),
                          check_login);
  } else if (!endpoint.password.empty()) {
    greeting.emplace_back(Command(Expect::anything, "AUTH", endpoint.password), check_login);
  }
  if (endpoint.database != 0) {
    greeting.emplace_back(Command(Expect::anything, "SELECT", std::int64_t{endpoint.database}),
                          check_database);
  }
  if (!options.client_name.empty()) {
    greeting.emplace_back(Command(Expect::anything, "CLIENT", "SETNAME", options.client_name),
                          check_admission);
  }
  if (options.scripting) {
    for (const protocol::Script* script : scripts) {
      greeting.emplace_back(Command(Expect::anything, "SCRIPT", "LOAD", script->text),
                            check_admission);
    }
  } else {
    greeting.emplace_back(protocol::ask_abilities(), check_admission);
  }
  for (const auto& [command, check] : greeting) connection_.append(command);
  connection_.flush(deadline);
  for (const auto& [command, check] : greeting) {
    const Reply reply = answer(command, deadline);
    check(reply);
    if (!options.scripting && connection_.owed() == 0) {
      abilities_ = protocol::read_abilities(reply);
      asked_for_abilities_ = true;
    }
  }
}

bool Session::converses(std::span<const Command> commands) const noexcept {
  return std::any_of(commands.begin(), commands.end(),
                     [&](const Command& command) { return form_of(command) == Form::watch; });
}

void Session::append(const Command& command, Form form) {
  connection_.append(form == Form::script ? command : protocol::native_command(form, command));
}

void Session::run(std::span<const Command> commands, Replies& replies, TimePoint deadline) {
  replies.clear();
  for (const Command& command : commands) {
    const Form form = form_of(command);
    if (form == Form::watch) {
      replies.push_back(guarded(command, deadline));
    } else {
      append(command, form);
      connection_.flush(deadline);
      replies.push_back(mend(command, form,
                             connection_.receive(protocol::expect_of(command, form), deadline),
                             deadline));
    }
  }
}

Reply Session::mend(const Command& call, Form form, Reply refusal, TimePoint deadline) {
  if (call.script() == nullptr) return refusal;
  const bool only_by_script = call.script()->effect == protocol::Script::Effect::other;
  for (;;) {
    if (form == Form::script && refusal.text.starts_with("NOSCRIPT")) {
      refusal = say(call, deadline, ScriptCall::by_text);
    }
    if (!refusal.is_error() || !protocol::refuses_command(refusal.text) || only_by_script ||
        !protocol::drop(form, abilities_)) {
      return refusal;
    }
    if (!asked_for_abilities_) {
      abilities_ = protocol::read_abilities(say(protocol::ask_abilities(), deadline));
      asked_for_abilities_ = true;
    }
    form = protocol::form_for(*call.script(), abilities_);
    refusal = form == Form::watch ? guarded(call, deadline)
                                  : say(protocol::native_command(form, call), deadline);
  }
}

/// redis.io/docs/latest/develop/interact/transactions, "optimistic locking using check-and-set"
Reply Session::guarded(const Command& call, TimePoint deadline) {
  for (;;) {
    if (std::optional<Reply> reply = try_guarded(call, deadline)) return *std::move(reply);
    if (BootClock::now() >= deadline) {
      throw IoError(Errc::timed_out, "the key kept changing for all of command_timeout");
    }
  }
}

/// Nothing when the key was changed by somebody else in between.
std::optional<Reply> Session::try_guarded(const Command& call, TimePoint deadline) {
  const std::string_view key = call.argument(0);
  const std::string_view token = call.argument(1);
  const Command exec(Expect::array_or_nil, "EXEC");
  // Without a transaction the change would be made at once, so that it is begun beforehand.
  const std::array opening{Command(Expect::status, "WATCH", key),
                           Command(Expect::text_or_nil, "GET", key),
                           Command(Expect::status, "MULTI")};
  for (const Command& command : opening) connection_.append(command);
  connection_.flush(deadline);
  Reply watched = answer(opening[0], deadline);
  Reply holder = answer(opening[1], deadline);
  Reply begun = answer(opening[2], deadline);
  if (begun.is_error()) return watched.is_error() ? watched : begun;
  // An absent key is written to as well: see exclusive.hpp.
  const bool theirs = holder.kind == Reply::Kind::string && holder.text != token;
  const bool changes = !watched.is_error() && !holder.is_error() && !theirs;
  const Command change = protocol::guarded_change(call);
  if (changes) connection_.append(change);
  connection_.append(exec);
  connection_.flush(deadline);
  Reply queued = changes ? answer(change, deadline) : Reply{};
  Reply done = answer(exec, deadline);
  if (watched.is_error()) return watched;
  if (holder.is_error()) return holder;
  if (theirs) return Reply{.kind = Reply::Kind::integer};
  if (queued.is_error()) return queued;
  if (done.elements.size() == 1) return std::move(done.elements.front());
  if (done.is_error()) return done;
  return std::nullopt;
}

Reply Session::say(const Command& command, TimePoint deadline, ScriptCall call) {
  connection_.append(command, call);
  connection_.flush(deadline);
  return answer(command, deadline);
}

Reply Session::answer(const Command& command, TimePoint deadline) {
  return connection_.receive(command.expect(), deadline);
}

}  // namespace redlatch::detail
