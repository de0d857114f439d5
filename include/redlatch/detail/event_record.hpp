#pragma once

#include <string_view>
#include <system_error>

#include <redlatch/detail/clock.hpp>
#include <redlatch/event.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// Why something has failed. The text is an explanation without key and server, which an `Error`
/// would have, too; empty: that of the code.
struct Failure {
  std::error_code code{};
  std::string_view text{};
};

// Why a lock is `lost`, where no error says so.
inline constexpr std::string_view is_not_ours =
    "the server does not have this lock any more: the key was deleted, has expired or has another "
    "holder";
inline constexpr std::string_view lease_was_over = "its lease was over when it was released";

/// An event as it is recorded. Nothing of it is copied unless the program wants events.
struct EventRecord {
  EventKind kind{};
  std::string_view key{};
  TimePoint::duration elapsed{};
  Failure why{};
  std::string_view detail{};  // the complete text, where it is known; else it is made of `why`
  std::string_view server{};  // empty: that of the client which records it
  /// For `contended`: a command of the lock. It is used for the keys that it names: another thread
  /// of this client may hold one of them.
  const protocol::Command* about = nullptr;
  bool is_single_attempt = false;  // of `contended`
  bool is_counted_only = false;    // not delivered, as a like event was a moment ago
};

}  // namespace redlatch::detail
