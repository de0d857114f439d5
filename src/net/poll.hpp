#pragma once

#include <poll.h>

#include <span>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// poll(2) until something is ready or `deadline` is over: signals neither end it nor prolong it,
/// nor does a stop of the process. How many are ready. Throws `std::bad_alloc` when the system has
/// no memory for it, and `IoError`.
int poll_until(std::span<pollfd> descriptors, TimePoint deadline);

}  // namespace redlatch::detail
