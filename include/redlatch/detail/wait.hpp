#pragma once

#include <chrono>
#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/error.hpp>

namespace redlatch::detail {

/// When a wait ends; nothing: never. Takes any duration without overflow: one of a century or more
/// has no end, and one that is not a number is over already.
template <class Rep, class Period>
std::optional<TimePoint> end_of(std::chrono::duration<Rep, Period> wait, TimePoint now) {
  constexpr double century = 100.0 * 365 * 24 * 3600;
  const double seconds = std::chrono::duration<double>(wait).count();
  if (seconds >= century) return std::nullopt;
  if (!(seconds > 0)) return now;
  return now +
         std::chrono::duration_cast<TimePoint::duration>(std::chrono::duration<double>(seconds));
}

/// Whether the error may be over soon, so that a wait goes on.
inline bool is_ridden_out(const Error& error) noexcept {
  return error.code() == Errc::unreachable || error.code() == Errc::timed_out ||
         error.code() == Errc::not_writable;
}

}  // namespace redlatch::detail
