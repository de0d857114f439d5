#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <redlatch/detail/export.hpp>

namespace redlatch {

/// What went wrong, by what can be done about it. A lock that is held elsewhere is not an error:
/// the functions return false for it.
enum class Errc {
  /// No connection: refused, unknown host, `connect_timeout` is over, connection lost, the server
  /// has too many clients, or the process no descriptors.
  unreachable = 1,
  /// Connected, but no reply within `command_timeout`.
  timed_out,
  /// The server does not accept the user or password, or one side refuses the other's certificate.
  authentication_failed,
  /// The user may not run a command, or may not touch the key.
  not_permitted,
  /// The server cannot write now: it is a replica, loading, out of memory, busy with a script, or a
  /// save has failed.
  not_writable,
  /// The key exists and is not a lock of this class.
  wrong_type,
  /// A reply that violates the protocol, or an error reply that no other code stands for.
  protocol_error,
  /// Fewer servers or replicas agreed than required.
  no_quorum,
  /// This build or this server cannot do it.
  unsupported,
  /// An argument that cannot work; the message names it.
  invalid_argument
};

/// The category of `Errc`, with the name "redlatch". Two copies of the static library in one
/// process, in a plugin and in its host for instance, have a category each, so an `std::error_code`
/// of one never equals one of the other: compare either with an `Errc`.
REDLATCH_API const std::error_category& error_category() noexcept;

/// An `Errc` as a `std::error_code`.
REDLATCH_API std::error_code make_error_code(Errc code) noexcept;

/// The name of the enumerator, as "timed_out"; "?" for any other value.
REDLATCH_API std::string_view to_string(Errc code) noexcept;
/// The name of the code of an error or an event, for logs: that of the `Errc`, or
/// "not_enough_memory" or "resource_deadlock_would_occur"; empty for no error, and "?" for any
/// other code. To be called as `redlatch::to_string(event.error)`, as the type is one of `std`.
REDLATCH_API std::string_view to_string(const std::error_code& code) noexcept;
/// Writes `to_string(code)`.
REDLATCH_API std::ostream& operator<<(std::ostream& out, Errc code);

/// Compares categories by name, so that codes of every copy of the library match.
REDLATCH_API bool operator==(const std::error_code& code, Errc value) noexcept;

/// The exception type of the library. `code()` compares equal to a value of `Errc`. `what()` names
/// the server, the key and a remedy, and never a password or a token.
class REDLATCH_API Error : public std::system_error {
 public:
  /// `what()` is "redlatch: " and `what`; `server` is a URL without user and password.
  Error(Errc code, const std::string& what, std::string server = {}, bool in_doubt = false);
  /// Copies share their texts, so that copying cannot fail.
  Error(const Error&) = default;
  /// As the constructor.
  Error& operator=(const Error&) = default;
  ~Error() override = default;

  /// The server's URL without user or password, as in "redis://10.0.0.5:6379/0"; "all" if it
  /// concerns all servers of a `Quorum`. Empty if the error concerns no server.
  const std::string& server() const noexcept { return *server_; }

  /// True if the server may have carried out the command although its reply is not known. A lock
  /// that an acquisition may have left behind is then removed in the background, by its token.
  bool in_doubt() const noexcept { return in_doubt_; }

  /// Whether the same call may succeed later, with nothing changed: the server is away, does not
  /// answer or cannot write now, or there is no quorum. See `LockOptions::ride_out`.
  bool transient() const noexcept;

 private:
  std::shared_ptr<const std::string> server_;  // so that a copy cannot fail
  bool in_doubt_;
};

}  // namespace redlatch

template <>
struct std::is_error_code_enum<redlatch::Errc> : std::true_type {};
