#pragma once

#include <chrono>
#include <string>
#include <system_error>

namespace redlatch {

enum class EventKind {
  /// A lock is not ours any more: the key was deleted or taken over, or the lease was not renewed
  /// in
  /// time. Or it turned out so when a release that nobody waited for reached the server.
  lost,
  /// A release that nobody waited for stays unanswered: the ttl has ended the lease by now, or the
  /// client is gone before it was known.
  release_unknown
};

/// What happened to a lock while nobody was waiting for the answer. See `ClientOptions::on_event`.
struct Event {
  EventKind kind{};
  std::string key{};
  /// Since the lock was asked for, or the release where that is what failed.
  std::chrono::microseconds elapsed{};
  /// Why the release is unknown, by `Errc`; none otherwise.
  std::error_code error{};
};

}  // namespace redlatch
