#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

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

/// The same error with a note behind its explanation.
inline Error with_note(const Error& error, const std::string& note) {
  constexpr std::string_view name = "redlatch: ";
  const std::string code = ": " + error.code().message();
  std::string_view explanation = error.what();
  if (explanation.starts_with(name)) explanation.remove_prefix(name.size());
  if (explanation.ends_with(code)) explanation.remove_suffix(code.size());
  return Error(static_cast<Errc>(error.code().value()), std::string(explanation) + "; " + note,
               error.server(), error.in_doubt());
}

/// Whether the error may be over soon, so that a wait goes on. `no_quorum`: for a missing quorum,
/// too. With one server, its replicas or its disk do not do then what `durability` asks for, and
/// may not do it for long: only waits with `LockOptions::ride_out` go on.
inline bool is_ridden_out(const Error& error, bool no_quorum = false) noexcept {
  return error.transient() && (no_quorum || error.code() != Errc::no_quorum);
}

}  // namespace redlatch::detail
