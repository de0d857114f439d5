#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/error.hpp>

namespace redlatch::protocol {

/// One reply of the server, by RESP2 type.
struct Reply {
  enum class Kind { nil, status, error, integer, string, array };

  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text{};  // of a status, an error or a string
  std::vector<Reply> elements{};

  bool is_error() const noexcept { return kind == Kind::error; }
  bool is_ok() const noexcept { return kind == Kind::status && text == "OK"; }
};

/// The answer to a question that a server can only answer with yes or no: a script's 1 or 0, a
/// `SET`'s OK or nil.
enum class Vote { yes, no, refused };

inline Vote vote(const Reply& reply) noexcept {
  if (reply.is_ok() || (reply.kind == Reply::Kind::integer && reply.integer > 0)) {
    return Vote::yes;
  }
  return reply.is_error() ? Vote::refused : Vote::no;
}

/// No, and there would never be a yes: who asks waits for its own thread.
constexpr bool is_deadlock(std::int64_t answer) noexcept { return answer < 0; }

/// Whether it is an answer at all.
inline Vote answered(const Reply& reply) noexcept {
  return reply.is_error() ? Vote::refused : Vote::yes;
}

/// No number of milliseconds from a server counts for more, so that none can overflow.
inline constexpr std::chrono::milliseconds max_life = std::chrono::years(100);

/// The answer to PTTL, at most `max_life`; nothing for a key without expiry or for a number that
/// PTTL never gives, zero for a key that is not there.
inline std::optional<std::chrono::milliseconds> life_in(const Reply* reply) noexcept {
  constexpr std::int64_t no_key = -2;
  if (reply == nullptr || reply->kind != Reply::Kind::integer) return std::nullopt;
  if (reply->integer == no_key) return std::chrono::milliseconds::zero();
  if (reply->integer < 0) return std::nullopt;
  return std::chrono::milliseconds(std::min<std::int64_t>(reply->integer, max_life.count()));
}

/// For how long the server has run, by its answer to INFO server, at most a century; zero when it
/// does not say.
std::chrono::seconds uptime_in(const Reply& info) noexcept;

/// What an error reply means to a caller; anything unknown is `Errc::protocol_error`.
Errc classify(std::string_view error_reply) noexcept;

/// The same for what asks whether a lock is still ours: a key of another kind is not.
inline Vote ours(const Reply& reply) noexcept {
  if (reply.is_error() && classify(reply.text) == Errc::wrong_type) return Vote::no;
  return vote(reply);
}

/// True when this error reply is about the server at the other end of the connection and not about
/// the command: it is no primary, not yet or not any more, or does not know its client. Another
/// connection may lead to another server.
bool concerns_connection(std::string_view error_reply) noexcept;

/// True when this error reply to a script says nothing of whether the script changed the data. Only
/// refusals that the server gives before a script starts are certain.
bool leaves_script_in_doubt(std::string_view error_reply) noexcept;

/// True when the user may not run the command at all, or the server does not have it: another
/// command for the same purpose may still work.
bool refuses_command(std::string_view error_reply) noexcept;

/// True when this error reply may mean the same, in words that are not Redis's: services and
/// proxies have their own. Whether it does is found out by asking: see `are_scripts_refused`.
bool may_refuse_command(std::string_view error_reply) noexcept;

/// Of an error reply that may refuse this command: whether it names it. Services that refuse a
/// command do. A proxy that has lost its server does not, and the server may have carried the
/// command out by then, so that what is said to other commands afterwards proves nothing of it.
bool refuses_by_name(std::string_view error_reply, std::string_view command) noexcept;

/// The same where it was found out, with a word of ours in front of the server's own, so that it
/// `refuses_command`: `Errc::unsupported`.
std::string as_refusal(std::string_view error_reply);

/// An error reply without the arguments that servers repeat in it, which may be secrets.
std::string_view without_arguments(std::string_view error_reply) noexcept;

/// Keys may hold any bytes; this has printable ones.
std::string printable(std::string_view text);

/// An exception about one lock: `lock "job:42" on redis://10.0.0.5:6379: <explanation>`.
Error about(Errc code, std::string_view key, const std::string& server,
            std::string_view explanation, bool in_doubt = false);

/// What an error reply said, and what to do about it. The place in a script that had it is left
/// out, unless the error is of no known kind.
std::string explain(std::string_view error_reply);

/// The exception for an error reply: what the server said, and what to do about it.
Error to_error(const Reply& error_reply, std::string_view key, const std::string& server,
               bool in_doubt);

}  // namespace redlatch::protocol
