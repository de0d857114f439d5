#pragma once

#include <algorithm>
#include <optional>
#include <span>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/closings.hpp"

namespace redlatch::detail {

/// The forms in which the server of one connection takes scripts, as far as that is known: from the
/// greeting, and from what it has refused since.
class ScriptForms {
 public:
  ScriptForms() = default;
  /// `first`: from the greeting, if that has asked. `only_scripts`: of a quorum's server, which is
  /// sent no other form than the script's text.
  ScriptForms(const std::optional<protocol::Abilities>& first, bool only_scripts) noexcept
      : only_scripts_(only_scripts),
        first_(first.value_or(protocol::Abilities{.scripts = true})),
        abilities_(first_),
        has_asked_(first.has_value()) {}

  protocol::Form form_of(const protocol::Command& command) const noexcept {
    return command.script() == nullptr ? protocol::Form::script
                                       : protocol::form_for(*command.script(), abilities_);
  }
  /// Whether one of the commands is sent in a form that needs the connection for itself.
  bool needs_exclusive_use(std::span<const protocol::Command> commands) const noexcept {
    return std::any_of(commands.begin(), commands.end(), [this](const protocol::Command& command) {
      return form_of(command) == protocol::Form::watch;
    });
  }
  bool has_other_forms(const protocol::Script& script) const noexcept {
    return !only_scripts_ && script.effect != protocol::Script::Effect::other;
  }
  bool are_scripts_refused() const noexcept { return !abilities_.scripts; }

  /// What is to be done after a refusal. `ask`: to send `ask_abilities`, and `learn` from the reply
  /// which other forms there are.
  enum class Next { nothing, other_form, ask };
  /// The server refused this form.
  Next refused(protocol::Form form, const Closings& closings, TimePoint now) noexcept {
    if (!protocol::drop(form, abilities_)) {
      // All forms were refused, perhaps only for a moment, as while an ACL is being changed: the
      // next call begins with the first form again.
      abilities_ = first_;
      has_asked_ = !first_.scripts;
      return Next::nothing;
    }
    if (has_asked_) return Next::other_form;
    has_asked_ = true;
    learn({});  // as little as none
    return closings.in_a_row(Closings::Step::abilities, now) > 0 ? Next::other_form : Next::ask;
  }
  void learn(const protocol::Reply& abilities) noexcept {
    abilities_ = protocol::read_abilities(abilities);
  }

 private:
  bool only_scripts_ = false;
  protocol::Abilities first_{.scripts = true};
  protocol::Abilities abilities_{.scripts = true};
  bool has_asked_ = false;
};

}  // namespace redlatch::detail
