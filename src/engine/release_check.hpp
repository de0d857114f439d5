#pragma once

#include <chrono>
#include <new>
#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/request_transport.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {

/// Whether the server of a connection lacks the command that releases need: no lock is acquired
/// then, as it could not be released. The refusal may have been one for the moment, so a release
/// that changes nothing is tried once in a second, and a minute later the refusal is forgotten.
class ReleaseCheck {
 public:
  static constexpr std::chrono::seconds probe_period{1};

  void reset() noexcept { refusal_.reset(); }
  /// Looks at the reply to a command.
  void note(const protocol::Command& command, const protocol::Reply& reply,
            TimePoint now) noexcept {
    if (!is_release(command)) return;
    refusal_.reset();
    if (!reply.is_error() || protocol::classify(reply.text) != Errc::unsupported) return;
    try {
      refusal_.emplace(Errc::unsupported,
                       "no lock could be given up again: " + protocol::explain(reply.text));
      until_ = now + memory;
    } catch (const std::bad_alloc&) {
      // The reply to the next release shows it again.
    }
  }
  /// Whether replies without an error matter, which they seldom do.
  bool has_refusal() const noexcept { return refusal_.has_value(); }
  /// The refusal, if the request asks for a lock that could not be released; or null.
  const IoError* refuses(const Request& request, TimePoint now) const noexcept {
    if (!refusal_ || request.cleanup == nullptr || now >= until_) return nullptr;
    return is_release(request.cleanup->command) ? &*refusal_ : nullptr;
  }
  /// Whether it is time to find out whether releases work again.
  bool is_probe_due(TimePoint now) noexcept {
    if (now < next_probe_) return false;
    next_probe_ = now + probe_period;
    return true;
  }

 private:
  static constexpr std::chrono::minutes memory{1};

  static bool is_release(const protocol::Command& command) noexcept {
    const protocol::Script* const script = command.script();
    return script != nullptr && script->effect == protocol::Script::Effect::remove;
  }

  std::optional<IoError> refusal_{};
  TimePoint until_{};
  TimePoint next_probe_{};
};

}  // namespace redlatch::detail
