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

/// A reply as a vote: yes for a script's positive number or OK, no for 0 or nil, refused for an
/// error.
enum class Vote { yes, no, refused };

inline Vote vote(const Reply& reply) noexcept {
  if (reply.is_ok() || (reply.kind == Reply::Kind::integer && reply.integer > 0)) {
    return Vote::yes;
  }
  return reply.is_error() ? Vote::refused : Vote::no;
}

/// Whether the number means that the wait would never end, as the thread would wait for itself.
constexpr bool is_deadlock(std::int64_t answer) noexcept { return answer < 0; }

/// Yes for every reply but an error.
inline Vote answered(const Reply& reply) noexcept {
  return reply.is_error() ? Vote::refused : Vote::yes;
}

/// The maximum that a number of milliseconds from a server counts for, so that none can overflow.
inline constexpr std::chrono::milliseconds max_life = std::chrono::years(100);

/// The reply to PTTL, at most `max_life`; nothing for a key without expiry or an invalid number,
/// zero for an absent key.
inline std::optional<std::chrono::milliseconds> life_in(const Reply* reply) noexcept {
  constexpr std::int64_t no_key = -2;
  if (reply == nullptr || reply->kind != Reply::Kind::integer) return std::nullopt;
  if (reply->integer == no_key) return std::chrono::milliseconds::zero();
  if (reply->integer < 0) return std::nullopt;
  return std::chrono::milliseconds(std::min<std::int64_t>(reply->integer, max_life.count()));
}

/// The uptime of the server, from its reply to INFO server, at most a century; zero if it is
/// missing.
std::chrono::seconds uptime_in(const Reply& info) noexcept;

/// The code of an error reply; `Errc::protocol_error` for an unknown one.
Errc classify(std::string_view error_reply) noexcept;

/// The vote on whether a lock is still ours. A key of another type is a no.
inline Vote ours(const Reply& reply) noexcept {
  if (reply.is_error() && classify(reply.text) == Errc::wrong_type) return Vote::no;
  return vote(reply);
}

/// True if this error reply concerns the connection and not the command: its server is not a
/// primary, not yet or not any more, or does not know its client. Another connection may lead to
/// another server.
bool concerns_connection(std::string_view error_reply) noexcept;

/// What a node of a cluster says of a command that it has not carried out.
enum class Redirection {
  none,   // another error, or none
  moved,  // another node has the key
  asks,   // the key is being moved to another node, which takes the command behind ASKING
  apart,  // a slot is being moved, and the keys of the command are at two nodes
  down    // the slot is at no node, for a while
};
Redirection redirection(const Reply& reply) noexcept;
/// How many redirects in a row are followed without a pause.
inline constexpr int max_redirects = 5;

/// True if the script with this error reply may have changed data. Only errors that the server
/// gives before a script starts exclude that.
bool leaves_script_in_doubt(std::string_view error_reply) noexcept;

/// True if the user may not run the command, or the server does not have it: another form of the
/// command may still work.
bool refuses_command(std::string_view error_reply) noexcept;

/// True if this error reply may mean such a refusal, in words of its own: services and proxies have
/// many. `are_scripts_refused` finds out.
bool may_refuse_command(std::string_view error_reply) noexcept;

/// Whether an error reply that may refuse `command` names it. Services that refuse a command do. A
/// proxy that has lost its server does not, and the server may have carried the command out by
/// then, so that the replies to later commands prove nothing about it.
bool refuses_by_name(std::string_view error_reply, std::string_view command) noexcept;

/// A reply that was found to be a refusal, in words for which `refuses_command` is true, followed
/// by the server's own.
std::string as_refusal(std::string_view error_reply);

/// An error reply without the command's arguments that servers repeat in it, which may be secrets.
std::string_view without_arguments(std::string_view error_reply) noexcept;

/// A text, such as a key, with its unprintable bytes replaced.
std::string printable(std::string_view text);

/// An exception about one lock: `lock "job:42" on redis://10.0.0.5:6379: <explanation>`.
Error about(Errc code, std::string_view key, const std::string& server,
            std::string_view explanation, bool in_doubt = false);

/// What has sent an error reply: the log-in at Sentinels has options of its own.
enum class Sender { server, sentinel };

/// The text of an error reply, and a remedy. The position in a script is left out, unless the error
/// is unknown.
std::string explain(std::string_view error_reply, Sender sender = Sender::server);

/// The exception for an error reply: its text, and a remedy.
Error to_error(const Reply& error_reply, std::string_view key, const std::string& server,
               bool in_doubt);

}  // namespace redlatch::protocol
