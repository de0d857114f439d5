#pragma once

#include <chrono>
#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/error.hpp>

namespace redlatch::detail {

/// When a wait ends; nothing: never. Takes any duration without overflow: what is longer than a
/// century is endless, and what is not a number is over already.
template <class Rep, class Period>
std::optional<TimePoint> end_of(std::chrono::duration<Rep, Period> wait, TimePoint now) {
  constexpr double century = 100.0 * 365 * 24 * 3600;
  const double seconds = std::chrono::duration<double>(wait).count();
  if (seconds >= century) return std::nullopt;
  if (!(seconds > 0)) return now;
  return now +
         std::chrono::duration_cast<TimePoint::duration>(std::chrono::duration<double>(seconds));
}

/// What may be over soon: who waits already goes on waiting.
inline bool is_ridden_out(const Error& error) noexcept {
  return error.code() == Errc::unreachable || error.code() == Errc::timed_out ||
         error.code() == Errc::not_writable;
}

}  // namespace redlatch::detail
