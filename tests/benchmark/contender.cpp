#include "contender.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#include "eventually.hpp"

namespace redlatch::benchmark {
namespace {

void note(Seat& seat, Clock::time_point called, Clock::time_point held, bool handed_over,
          Clock::time_point released) {
  ++seat.acquisitions;
  seat.longest_wait = std::max(seat.longest_wait, held - called);
  if (handed_over) seat.hand_overs.add(held - released);
}

void cycle(Arena& arena, std::size_t me, Worker& worker, std::chrono::milliseconds section) {
  Seat& seat = arena.seats[me];
  while (arena.phase != Phase::over) {
    const Clock::time_point called = Clock::now();
    seat.waits_since = called.time_since_epoch().count();
    ++arena.waiting;
    worker.acquire();
    const Clock::time_point held = Clock::now();
    --arena.waiting;
    seat.waits_since = 0;

    const Parting before = arena.enter(me);
    const Phase phase = arena.phase;
    if (phase == Phase::measured) {
      note(seat, called, held, before.awaited && before.holder != me, before.at);
    }
    if (phase != Phase::over) std::this_thread::sleep_until(held + section);
    arena.leave(me);
    worker.release();
  }
}

void try_to_cycle(Arena& arena, std::size_t me, Worker& worker,
                  std::chrono::milliseconds section) noexcept {
  try {
    cycle(arena, me, worker, section);
  } catch (const std::exception& error) {
    arena.fail(error.what());
  }
}

}  // namespace

void contend(Arena& arena, std::size_t first_seat, const std::function<Team()>& make_team,
             std::chrono::milliseconds section) noexcept {
  try {
    const Team team = make_team();
    arena.ready += static_cast<int>(team.size());
    if (!test::eventually([&] { return arena.phase != Phase::gathering; })) {
      throw std::runtime_error("the contenders did not gather");
    }
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < team.size(); ++i) {
      others.emplace_back([&, i] { try_to_cycle(arena, first_seat + i, *team[i], section); });
    }
    try_to_cycle(arena, first_seat, *team.front(), section);
  } catch (const std::exception& error) {
    arena.fail(error.what());
  }
}

}  // namespace redlatch::benchmark
