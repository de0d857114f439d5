#pragma once

#include <poll.h>

#include <span>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// ppoll(2) until something is ready or `deadline` is over: signals neither end it nor prolong it.
/// How many are ready.
int poll_until(std::span<pollfd> descriptors, TimePoint deadline);

}  // namespace redlatch::detail
