#pragma once

#include <memory>
#include <string>
#include <system_error>
#include <type_traits>

#include <redlatch/detail/export.hpp>

namespace redlatch {

/// What went wrong, by what can be done about it. That a lock is held elsewhere is not among these:
/// it is an answer (`false`), not an error.
enum class Errc {
  /// Refused, unknown host, `connect_timeout` over, connection lost, server full, or out of
  /// descriptors.
  unreachable = 1,
  /// Connected, but no answer within `command_timeout`.
  timed_out,
  /// The server wants another user or password than the URL has.
  authentication_failed,
  /// The user may not run a command, or may not touch the key.
  not_permitted,
  /// The server cannot write now: a replica, loading, out of memory, a failed save, busy with a
  /// script.
  not_writable,
  /// The key exists and is something else than a lock of this kind.
  wrong_type,
  /// An answer that is not the protocol's, or an error reply without a code of its own here.
  protocol_error,
  /// Fewer servers or replicas agreed than were asked for.
  no_quorum,
  /// Something that this build or this server cannot do.
  unsupported,
  /// An argument that can never work; the message names it.
  invalid_argument
};

/// The category of `Errc`; its name is "redlatch". Two copies of the static library in one process,
/// say in a plugin and in its host, have one each, so that `std::error_code`s of both, compared
/// with each other, differ: compare them with an `Errc`.
REDLATCH_API const std::error_category& error_category() noexcept;

/// What makes a `std::error_code` of an `Errc`.
REDLATCH_API std::error_code make_error_code(Errc code) noexcept;

/// True for the codes of every copy of the library: categories are compared by name.
REDLATCH_API bool operator==(const std::error_code& code, Errc value) noexcept;

/// The one exception of the library. `code()` compares equal to a value of `Errc`; `what()` names
/// the server, the key and what to do, and never a password or a token.
class REDLATCH_API Error : public std::system_error {
 public:
  /// `what` gets "redlatch: " in front of it; `server` is a URL without user and password.
  Error(Errc code, const std::string& what, std::string server = {}, bool in_doubt = false);
  /// Copies share what they hold, so that copying cannot fail.
  Error(const Error&) = default;
  /// As the constructor.
  Error& operator=(const Error&) = default;
  ~Error() override = default;

  /// The server's URL without user or password, as in "redis://10.0.0.5:6379/0". Empty when the
  /// error is about no server.
  const std::string& server() const noexcept { return *server_; }

  /// True when the server may have carried the command out, although its answer is not known. What
  /// an acquisition may have left behind is then being removed in the background, by token.
  bool in_doubt() const noexcept { return in_doubt_; }

 private:
  std::shared_ptr<const std::string> server_;  // so that a copy cannot fail
  bool in_doubt_;
};

}  // namespace redlatch

template <>
struct std::is_error_code_enum<redlatch::Errc> : std::true_type {};
