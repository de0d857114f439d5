#pragma once

#include <chrono>
#include <string>
#include <system_error>

namespace redlatch {

enum class EventKind {
  /// A lock was not ours any more when its release, which nobody waited for, reached the server: it
  /// had expired, or the key was deleted or taken over.
  lost,
  /// A release that nobody waited for stays unanswered: the ttl has ended the lease by now, or the
  /// client is gone before it was known.
  release_unknown
};

/// What happened to a lock while nobody was waiting for the answer. See `ClientOptions::on_event`.
struct Event {
  EventKind kind{};
  std::string key{};
  /// Since the release was asked for.
  std::chrono::microseconds elapsed{};
  /// Why the release is unknown, by `Errc`; none otherwise.
  std::error_code error{};
};

}  // namespace redlatch
