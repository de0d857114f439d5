#pragma once

#include <redlatch/protocol/command.hpp>

/// The forms of a compare-and-delete or compare-and-expire script for servers that run no scripts,
/// and how such a server is recognised. Sources: redis.io/docs/latest/commands/delex,
/// redis.io/docs/latest/commands/set, valkey.io/commands/delifeq, valkey.io/commands/set.
namespace redlatch::protocol {

/// How a script is sent. `watch` is a WATCH/GET/MULTI/EXEC transaction, which needs exclusive use
/// of its connection; the others are one command.
enum class Form { script, delex, delifeq, set_ifeq, watch };

/// Which forms one server has and allows its user, as far as that is known.
struct Abilities {
  bool scripts = true;
  bool delex = false;     // Redis 8.4, Valkey 9.2
  bool delifeq = false;   // Valkey 9.0
  bool set_ifeq = false;  // in every server that has one of the two above
};

/// The best form for a script that the server takes.
inline Form form_for(const Script& script, const Abilities& abilities) noexcept {
  if (abilities.scripts || script.effect == Script::Effect::other) return Form::script;
  if (script.effect != Script::Effect::remove) {
    return abilities.set_ifeq ? Form::set_ifeq : Form::watch;
  }
  if (abilities.delex) return Form::delex;
  return abilities.delifeq ? Form::delifeq : Form::watch;
}

/// Removes a form that the server refused from its abilities; false if no other is left.
inline bool drop(Form form, Abilities& abilities) noexcept {
  switch (form) {
    case Form::script:
      abilities.scripts = false;
      return true;
    case Form::delex:
      abilities.delex = false;
      return true;
    case Form::delifeq:
      abilities.delifeq = false;
      return true;
    case Form::set_ifeq:
      abilities.set_ifeq = false;
      return true;
    case Form::watch:
      break;
  }
  return false;
}

/// Asks for the abilities of a server without scripts; `read_abilities` reads the reply.
inline Command ask_abilities() {
  return Command(Expect::anything, "COMMAND", "INFO", "delex", "delifeq");
}

/// The reply describes each command that the server knows, and has nil for the others. An error
/// counts as none of them.
inline Abilities read_abilities(const Reply& reply) {
  const auto knows = [&](std::size_t i) {
    return reply.elements.size() > i && reply.elements[i].kind == Reply::Kind::array &&
           !reply.elements[i].elements.empty();
  };
  Abilities abilities{.scripts = false, .delex = knows(0), .delifeq = knows(1)};
  abilities.set_ifeq = abilities.delex || abilities.delifeq;
  return abilities;
}

// Does nothing. It is called with a key, by which proxies choose a server.
inline constexpr Sha1 harmless_hash("return 1");
inline constexpr Script harmless_script{
    .text = "return 1", .hash = &harmless_hash, .effect = Script::Effect::other};

/// Whether scripts are refused, by the replies to `harmless_script`, sent with its text and by its
/// hash, and to a command that every user may run. If all three replies are unknown errors, the
/// server is out of order at present, and refuses nothing.
inline bool are_scripts_refused(const Reply& by_text, const Reply& by_hash, const Reply& other) {
  const auto is_refusal = [](const Reply& reply) {
    return reply.is_error() && may_refuse_command(reply.text);
  };
  return (is_refusal(by_text) || is_refusal(by_hash)) && !is_refusal(other);
}

/// The value of the key behind a call that does not remove it.
inline std::string_view value_after(const Command& call) noexcept {
  return call.argument(call.script()->effect == Script::Effect::replace ? 3 : 1);
}

/// A call of a script as one native command. Its first arguments are the key and the expected
/// value, as in the script. A DELEX without its condition would delete any value, so none is ever
/// made.
inline Command native_command(Form form, const Command& call) {
  const std::string_view key = call.argument(0);
  const std::string_view token = call.argument(1);
  if (form == Form::delex) return Command(Expect::integer, "DELEX", key, "IFEQ", token);
  if (form == Form::delifeq) return Command(Expect::integer, "DELIFEQ", key, token);
  return Command(Expect::ok_or_nil, "SET", key, value_after(call), "IFEQ", token, "PX",
                 call.argument(2));
}

/// The reply that a call has in this form.
inline Expect expect_of(const Command& call, Form form) noexcept {
  return form == Form::set_ifeq ? Expect::ok_or_nil : call.expect();
}

/// The change inside of a transaction, made if the key held the expected value or is absent, and
/// then without an effect.
inline Command guarded_change(const Command& call) {
  const std::string_view key = call.argument(0);
  switch (call.script()->effect) {
    case Script::Effect::remove:
      return Command(Expect::anything, "DEL", key);
    case Script::Effect::replace:
      return Command(Expect::anything, "SET", key, value_after(call), "XX", "PX", call.argument(2));
    case Script::Effect::expire:
    case Script::Effect::other:
      break;
  }
  return Command(Expect::anything, "PEXPIRE", key, call.argument(2));
}

}  // namespace redlatch::protocol
