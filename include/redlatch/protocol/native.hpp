#pragma once

#include <redlatch/protocol/command.hpp>

/// How a compare-and-act script is said to a server that runs no scripts.
/// Sources: redis.io/docs/latest/commands/delex, redis.io/docs/latest/commands/set,
/// valkey.io/commands/delifeq, valkey.io/commands/set.
namespace redlatch::protocol {

enum class Form { script, delex, delifeq, set_ifeq, watch };

/// What one server has and lets its user do, as far as it is known.
struct Abilities {
  bool scripts = true;
  bool delex = false;     // Redis 8.4, Valkey 9.2
  bool delifeq = false;   // Valkey 9.0
  bool set_ifeq = false;  // in every server that has one of the two above
};

inline Form form_for(const Script& script, const Abilities& abilities) noexcept {
  if (abilities.scripts || script.effect == Script::Effect::other) return Form::script;
  if (script.effect == Script::Effect::expire) {
    return abilities.set_ifeq ? Form::set_ifeq : Form::watch;
  }
  if (abilities.delex) return Form::delex;
  return abilities.delifeq ? Form::delifeq : Form::watch;
}

/// Takes the form that the server refused from its abilities; false when no other is left.
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

/// The question to which `read_abilities` is the answer.
inline Command ask_abilities() {
  return Command(Expect::anything, "COMMAND", "INFO", "delex", "delifeq");
}

/// A server names the commands that it knows and answers nil for the others. A refusal means
/// neither.
inline Abilities read_abilities(const Reply& reply) {
  const auto knows = [&](std::size_t i) {
    return reply.elements.size() > i && reply.elements[i].kind == Reply::Kind::array &&
           !reply.elements[i].elements.empty();
  };
  Abilities abilities{.scripts = false, .delex = knows(0), .delifeq = knows(1)};
  abilities.set_ifeq = abilities.delex || abilities.delifeq;
  return abilities;
}

/// The call as one native command. Its key comes first and the expected value second, as in the
/// script; never a DELEX without its condition, which would delete whatever is there.
inline Command native_command(Form form, const Command& call) {
  const std::string_view key = call.argument(0);
  const std::string_view token = call.argument(1);
  if (form == Form::delex) return Command(Expect::integer, "DELEX", key, "IFEQ", token);
  if (form == Form::delifeq) return Command(Expect::integer, "DELIFEQ", key, token);
  return Command(Expect::ok_or_nil, "SET", key, token, "IFEQ", token, "PX", call.argument(2));
}

/// What answers the call in that form.
inline Expect expect_of(const Command& call, Form form) noexcept {
  return form == Form::set_ifeq ? Expect::ok_or_nil : call.expect();
}

/// What WATCH guards: the change that is made when the key held the expected value.
inline Command guarded_change(const Command& call) {
  const std::string_view key = call.argument(0);
  return call.script()->effect == Script::Effect::remove
             ? Command(Expect::anything, "DEL", key)
             : Command(Expect::anything, "PEXPIRE", key, call.argument(2));
}

}  // namespace redlatch::protocol
