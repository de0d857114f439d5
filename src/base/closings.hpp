#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// What the connections of one client were closed at. A proxy closes a connection at a command that
/// it does not know, without a word, so that commands which a client can do without are left out
/// for a while once that has happened. A server that ends in that very moment looks the same, so
/// that nothing is left out for good. Used by all threads that connect; a forked child goes on with
/// what its parent knew.
class Closings {
 public:
  enum class Step {
    greeting,     // with optional commands, although one without them was answered then
    identity,     // INFO of a quorum's server, twice, although PING was answered then
    login,        // the greeting, also without them: no server is there
    abilities,    // COMMAND INFO, behind a refused script
    transaction,  // WATCH and what follows it
    changes,      // CLIENT ID and the SUBSCRIBE for changes of keys, with what is needed
  };

  /// By what was begun at that time. Several connections that are closed at once, or several
  /// addresses of one server, count as one: that may have been the end of the server.
  void note_closed(Step step, TimePoint begun) noexcept {
    State& state = states_[static_cast<std::size_t>(step)];
    if (begun <= state.last.load()) return;
    state.in_a_row = in_a_row(step) + 1;
    state.last = BootClock::now();
  }
  void note_answered(Step step) noexcept { states_[static_cast<std::size_t>(step)].in_a_row = 0; }
  /// How often it has happened since the last answer, as long as it is remembered.
  unsigned in_a_row(Step step) const noexcept {
    const State& state = states_[static_cast<std::size_t>(step)];
    return BootClock::now() < state.last.load() + memory ? state.in_a_row.load() : 0;
  }

 private:
  static constexpr std::chrono::minutes memory{1};

  struct State {
    std::atomic<unsigned> in_a_row = 0;
    std::atomic<TimePoint> last{};
  };
  std::array<State, 6> states_{};
};

}  // namespace redlatch::detail
