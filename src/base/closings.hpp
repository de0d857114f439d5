#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// The steps at which connections of one client were closed. A proxy closes a connection at a
/// command that it does not know, without an error, so optional commands are left out for a minute
/// after that. A server that ends at that moment looks the same, so nothing is left out for good,
/// and what no other command can replace is left out for a second only, after two closings.
/// All threads that connect share it; a forked child keeps what its parent knew.
class Closings {
 public:
  enum class Step {
    greeting,     // with optional commands, while a greeting without them was answered
    identity,     // INFO of a quorum's server, twice in a row, while PING was answered
    login,        // also without optional commands: no server is there
    abilities,    // COMMAND INFO, behind a refused script
    transaction,  // WATCH and what follows it
    changes,      // CLIENT ID and the SUBSCRIBE for changes of keys, with what is needed
  };

  /// By what was begun at that time. Several connections that are closed at once, or several
  /// addresses of one server, count as one: that may have been the end of the server.
  void note_closed(Step step, TimePoint begun, TimePoint now) noexcept {
    State& state = states_[static_cast<std::size_t>(step)];
    if (begun <= state.last.load()) return;
    state.in_a_row = in_a_row(step, now) + 1;
    state.last = now;
  }
  void note_answered(Step step) noexcept { states_[static_cast<std::size_t>(step)].in_a_row = 0; }
  /// How often the step was closed since it was last answered; 0 a minute after the last time.
  unsigned in_a_row(Step step, TimePoint now) const noexcept {
    const State& state = states_[static_cast<std::size_t>(step)];
    return now < state.last.load() + memory ? state.in_a_row.load() : 0;
  }
  /// Whether a step that no other command can replace is to be left out now.
  bool leaves_out(Step step, TimePoint now) const noexcept {
    const State& state = states_[static_cast<std::size_t>(step)];
    return state.in_a_row > 1 && now < state.last.load() + pause;
  }

 private:
  static constexpr std::chrono::minutes memory{1};
  static constexpr std::chrono::seconds pause{1};

  struct State {
    std::atomic<unsigned> in_a_row = 0;
    std::atomic<TimePoint> last{};
  };
  std::array<State, 6> states_{};
};

}  // namespace redlatch::detail
