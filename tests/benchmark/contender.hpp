#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "arena.hpp"
#include "window.hpp"

namespace redlatch::benchmark {

/// One process of those that contend for a lock: a thread for each worker of its team, the first of
/// which has `first_seat`. They begin together with those of all other processes, take and release
/// the lock for as long as the arena's phase is not over, and sleep for `section` while they hold
/// it. Whatever they throw is a failure of the arena.
void contend(Arena& arena, std::size_t first_seat, const std::function<Team()>& make_team,
             std::chrono::milliseconds section) noexcept;

}  // namespace redlatch::benchmark
