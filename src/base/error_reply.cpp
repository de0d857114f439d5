#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/script.hpp>

namespace redlatch::protocol {
namespace {

constexpr std::string_view in_script = "@user_script";
constexpr std::string_view unknown_in_script = "ommand called from";  // "Unknown Redis c..."
constexpr std::string_view of_script = " script: ";  // its hash and the line follow, at the end
// What Redis 7.0 and what later servers say of a command in a script that the ACL refuses. The
// first does not say which command or key that is.
constexpr std::string_view unnamed_in_script = "The user executing the script";
constexpr std::string_view named_in_script = "ERR ACL failure in script";
constexpr std::string_view no_password_configured =
    "ERR AUTH <password> called without any password configured";
constexpr std::string_view echo = ", with args beginning with";
constexpr std::string_view unknown_command = "ERR unknown command";  // its name in quotes follows
/// The first word of `as_refusal`.
constexpr std::string_view refused = "REFUSED";

struct Class {
  std::string_view begins;
  Errc code;
  std::string_view advice{};
};

// The errors that are told apart, by what they begin with; of two that fit, the first in the list
// counts. Any other error is `protocol_error`, and shown as the server has sent it.
// redis.io/docs/latest/develop/reference/protocol-spec: the first word of an error is its kind.
constexpr std::array classes{
    Class{"READONLY", Errc::not_writable, "it is a replica; use its primary"},
    Class{"UNBLOCKED", Errc::not_writable, "it has become a replica meanwhile; use its primary"},
    Class{"LOADING", Errc::not_writable, "it is reading its data; try again later"},
    Class{"MASTERDOWN", Errc::not_writable, "it is a replica without its primary; use the primary"},
    Class{"MISCONF", Errc::not_writable, "it cannot save its data; look at its log and disk"},
    Class{"OOM", Errc::not_writable, "its maxmemory is used up; give it more"},
    Class{"NOREPLICAS", Errc::not_writable,
          "too few of its replicas are in step; look at them, and at its min-replicas-to-write"},
    Class{"BUSY", Errc::not_writable,
          "a script keeps it busy; wait, or stop that with SCRIPT KILL"},
    Class{"CLUSTERDOWN", Errc::not_writable, "its cluster is not whole; try again later"},
    Class{"TRYAGAIN", Errc::not_writable, "its cluster is moving keys; try again later"},
    Class{"MOVED", Errc::protocol_error,
          "the key is at another node of a cluster; a URL with redis-cluster:// leads to all of "
          "them"},
    Class{"ASK", Errc::protocol_error,
          "the key is at another node of a cluster; a URL with redis-cluster:// leads to all of "
          "them"},
    Class{"NOAUTH", Errc::authentication_failed,
          "give a password, in the URL or by ClientOptions::credentials"},
    Class{"WRONGPASS", Errc::authentication_failed,
          "check user and password in the URL, or what ClientOptions::credentials gives, and that "
          "the "
          "server has this user, switched on, with this password"},
    Class{"NOPERM", Errc::not_permitted, "give the user the rights that docs/permissions.md lists"},
    Class{unnamed_in_script, Errc::not_permitted,
          "give the user the rights that docs/permissions.md lists; ACL LOG at the server has "
          "what was refused"},
    Class{"DENIED", Errc::not_permitted, "it takes only local clients until it has a password"},
    Class{"WRONGTYPE", Errc::wrong_type, "use another key"},
    Class{"CROSSSLOT", Errc::invalid_argument,
          "give all keys that are locked together the same hash tag, as in {tag}:name"},
    Class{"NOLOCK", Errc::wrong_type, "use another key"},
    Class{"LIMIT", Errc::invalid_argument, "let all who use the key have the same limit"},
    Class{"ERR max number of clients", Errc::unreachable, "raise its maxclients"},
    Class{unknown_command, Errc::unsupported},
    Class{refused, Errc::unsupported,
          "let its user run scripts, or for a Lock without fencing at least WATCH, MULTI and EXEC"},
    Class{no_password_configured, Errc::authentication_failed,
          "give no password, or set one there"},
    Class{"ERR DB index is out of range", Errc::protocol_error,
          "use a database below its setting \"databases\""},
};

// WATCH is used where there are no scripts, or where they are refused, too.
constexpr std::string_view unwatched = "'watch' command";
constexpr std::string_view advice_for_unwatched =
    "give the user the rights to EVAL and EVALSHA, or those that docs/permissions.md lists for a "
    "client without scripting";

// What to do instead where a Sentinel has sent the error.
constexpr std::array advice_at_sentinel{
    Class{"NOAUTH", Errc::authentication_failed,
          "give ClientOptions::sentinel.password, as user and password of the URL are for the "
          "servers"},
    Class{"WRONGPASS", Errc::authentication_failed,
          "check ClientOptions::sentinel.user and sentinel.password, as user and password of the "
          "URL are for the servers"},
    Class{"NOPERM", Errc::not_permitted,
          "give the user of ClientOptions::sentinel the rights at the Sentinels that "
          "docs/permissions.md lists"},
    Class{no_password_configured, Errc::authentication_failed,
          "give no ClientOptions::sentinel.password, or set one there"},
};

struct MissingCommand {
  std::string_view name;
  std::string_view advice;
};

constexpr std::string_view for_sentinel =
    "if it is a Sentinel, use redis-sentinel://host:port#service";

// Of SET, EVALSHA and SELECT, one is the first command at which a client finds out that a plain URL
// leads to a Sentinel, which knows PING, AUTH, CLIENT and SUBSCRIBE as other servers do.
constexpr std::array missing_commands{
    MissingCommand{"SET", for_sentinel}, MissingCommand{"EVALSHA", for_sentinel},
    MissingCommand{"SELECT", for_sentinel},
    MissingCommand{"WAITAOF", "leave durability.aof out, or use Redis 7.2 or Valkey"}};

// Errors that servers give before they run anything of a script, and our scripts' own words, which
// they give before they write. A script with any other error may have acted.
constexpr std::array<std::string_view, 12> refusals_that_change_nothing{
    "NOSCRIPT", "NOPERM", "BUSY",  "LOADING", "NOAUTH",   "CROSSSLOT",
    "NOLOCK",   "LIMIT",  "MOVED", "ASK",     "TRYAGAIN", "CLUSTERDOWN"};

/// Errors of no class of their own that a server gives although it would run the command, for its
/// arguments or because of what happens inside a script.
constexpr std::array<std::string_view, 11> no_refusals{"NOSCRIPT",
                                                       "MOVED",
                                                       "ASK",
                                                       "EXECABORT",
                                                       "UNKILLABLE",
                                                       "ERR Error compiling script",
                                                       "ERR Error running script",
                                                       "ERR nobody is served",
                                                       "ERR syntax error",
                                                       "ERR invalid expire time",
                                                       "ERR wrong number of arguments"};

// Errors of all commands on a connection until the server changes, or the connection leads to
// another one. NOAUTH: the password was changed, or the server has restarted with one.
constexpr std::array<std::string_view, 4> refusals_by_connection_state{"READONLY", "LOADING",
                                                                       "MASTERDOWN", "NOAUTH"};

std::string_view first_word(std::string_view text) { return text.substr(0, text.find(' ')); }

/// Redis 6 wraps what went wrong inside a script, "ERR Error running script (...): @user_script:1:
/// WRONGTYPE ..." and "...: @user_script:1: @user_script: 1: -OOM ...", and every server wraps what
/// keeps it from EXEC.
std::string_view unwrapped(std::string_view text) {
  constexpr std::string_view aborted = "EXECABORT Transaction discarded because of: ";
  if (text.starts_with(aborted)) return text.substr(aborted.size());
  if (!text.starts_with("ERR Error running script")) return text;
  const std::size_t place = text.rfind(in_script);
  if (place == std::string_view::npos) return text;
  const std::size_t inner = text.find_first_not_of(": -0123456789", place + in_script.size());
  return inner == std::string_view::npos ? text : text.substr(inner);
}

/// Without the place in a script of this library, which is of no use to the reader of the error.
std::string_view without_script(std::string_view error_reply) {
  std::string_view text = unwrapped(without_arguments(error_reply));
  if (text.find(in_script) != std::string_view::npos) text = text.substr(0, text.rfind(of_script));
  return text;
}

/// In any case of letters.
bool names(std::string_view error_reply, std::string_view command) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::search(error_reply.begin(), error_reply.end(), command.begin(), command.end(),
                     [&](char one, char other) { return lower(one) == lower(other); }) !=
         error_reply.end();
}

// By whole words: "BUSY" is not "BUSYGROUP". A comma follows where a server repeats arguments.
bool begins_with_words(std::string_view text, std::string_view words) {
  return text.starts_with(words) &&
         (text.size() == words.size() || text[words.size()] == ' ' || text[words.size()] == ',');
}

/// What to do where the command is missing that the text names: as 'SET' or, by Redis 6, as `SET`.
std::string_view advice_for_missing(std::string_view text) noexcept {
  constexpr std::string_view quotes = "'`";
  const std::size_t begin = text.find_first_of(quotes);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = text.substr(begin + 1);
  const std::string_view name = rest.substr(0, rest.find_first_of(quotes));
  for (const MissingCommand& known : missing_commands) {
    if (name == known.name) return known.advice;
  }
  return {};
}

Class classified(std::string_view error_reply) noexcept {
  const std::string_view text = unwrapped(without_arguments(error_reply));
  for (const Class& known : classes) {
    if (!begins_with_words(text, known.begins)) continue;
    if (known.begins == unknown_command) {
      return {known.begins, known.code, advice_for_missing(text)};
    }
    const bool is_unwatched = known.code == Errc::not_permitted && names(text, unwatched);
    return is_unwatched ? Class{known.begins, known.code, advice_for_unwatched} : known;
  }
  if (text.find(unnamed_in_script) != std::string_view::npos) return classified(unnamed_in_script);
  if (text.find(named_in_script) != std::string_view::npos) return classified("NOPERM");
  if (text.find(unknown_in_script) != std::string_view::npos) {
    return {.begins = unknown_in_script, .code = Errc::unsupported};
  }
  return {.begins = {}, .code = Errc::protocol_error};
}

Class classified(std::string_view error_reply, Sender sender) noexcept {
  Class known = classified(error_reply);
  if (sender == Sender::server) return known;
  for (const Class& at_sentinel : advice_at_sentinel) {
    if (at_sentinel.begins == known.begins) known.advice = at_sentinel.advice;
  }
  return known;
}

/// The number behind the last `prefix` in the text, perhaps with spaces and colons in between; 0
/// when there is none.
std::size_t number_behind(std::string_view text, std::string_view prefix) {
  std::size_t number = 0;
  const std::size_t place = text.rfind(prefix);
  if (place == std::string_view::npos) return number;
  const std::size_t digits = text.find_first_not_of(": ", place + prefix.size());
  if (digits == std::string_view::npos) return number;
  std::from_chars(text.data() + digits, text.data() + text.size(), number);
  return number;
}

/// The command that a script has in the line at which it ended with this error; empty when that is
/// not known. Servers tell the script's hash and the line, but not the command.
std::string_view command_in_script(std::string_view error_reply) {
  std::size_t line = number_behind(error_reply, in_script);
  std::string_view rest;
  if (line == 0) return rest;
  for (const Script* script : all_scripts()) {
    if (error_reply.find(script->sha1()) != std::string_view::npos) rest = script->text;
  }
  for (; line > 1 && !rest.empty(); --line) {
    rest.remove_prefix(std::min(rest.find('\n'), rest.size() - 1) + 1);
  }
  rest = rest.substr(0, rest.find('\n'));
  constexpr std::string_view call = "call('";
  const std::size_t place = rest.find(call);
  if (place == std::string_view::npos) return {};
  rest.remove_prefix(place + call.size());
  return rest.substr(0, rest.find('\''));
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\') {
      out += c;
    } else {
      constexpr const char* digits = "0123456789abcdef";
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 0x0F]};
    }
  }
  return out;
}

std::chrono::seconds uptime_in(const Reply& info) noexcept {
  constexpr std::string_view name = "uptime_in_seconds:";
  const std::size_t place = info.text.find(name);
  if (place == std::string::npos) return std::chrono::seconds::zero();
  std::int64_t seconds = 0;
  std::from_chars(info.text.data() + place + name.size(), info.text.data() + info.text.size(),
                  seconds);
  constexpr auto max = std::chrono::duration_cast<std::chrono::seconds>(max_life).count();
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, max));
}

Errc classify(std::string_view error_reply) noexcept { return classified(error_reply).code; }

Redirection redirection(const Reply& reply) noexcept {
  if (!reply.is_error() || reply.text.find(in_script) != std::string::npos) {
    return Redirection::none;  // a script that has begun may have acted
  }
  const std::string_view word = first_word(reply.text);
  if (word == "MOVED") return Redirection::moved;
  if (word == "ASK") return Redirection::asks;
  if (word == "TRYAGAIN") return Redirection::apart;
  return word == "CLUSTERDOWN" ? Redirection::down : Redirection::none;
}

bool concerns_connection(std::string_view error_reply) noexcept {
  const std::string_view text = unwrapped(without_arguments(error_reply));
  return std::any_of(refusals_by_connection_state.begin(), refusals_by_connection_state.end(),
                     [&](std::string_view word) { return begins_with_words(text, word); });
}

// Doubt is the safe answer: it costs a release by token, while a script that acted unseen would
// leave a lock that no client knows of until its ttl is over.
bool leaves_script_in_doubt(std::string_view error_reply) noexcept {
  error_reply = without_arguments(error_reply);
  if (error_reply.find(in_script) != std::string_view::npos) return true;
  if (begins_with_words(error_reply, refused)) return !refuses_by_name(error_reply, "EVAL");
  return std::find(refusals_that_change_nothing.begin(), refusals_that_change_nothing.end(),
                   first_word(error_reply)) == refusals_that_change_nothing.end() &&
         !refuses_command(error_reply);
}

bool refuses_command(std::string_view error_reply) noexcept {
  error_reply = without_arguments(error_reply);
  if (error_reply.find(in_script) != std::string_view::npos) return false;
  return error_reply.starts_with("ERR unknown command") ||
         begins_with_words(error_reply, refused) ||
         (error_reply.starts_with("NOPERM") &&
          error_reply.find("to run the '") != std::string_view::npos);
}

// A service may say "ERR this command is blocked by policy", a proxy "ERR unsupported": all errors
// that are not known to mean something else are candidates, which `are_scripts_refused` looks into.
bool may_refuse_command(std::string_view error_reply) noexcept {
  if (refuses_command(error_reply)) return true;
  error_reply = without_arguments(error_reply);
  return classify(error_reply) == Errc::protocol_error &&
         error_reply.find(in_script) == std::string_view::npos &&
         std::none_of(no_refusals.begin(), no_refusals.end(),
                      [&](std::string_view words) { return error_reply.starts_with(words); });
}

bool refuses_by_name(std::string_view error_reply, std::string_view command) noexcept {
  return names(without_arguments(error_reply), command);
}

std::string as_refusal(std::string_view error_reply) {
  std::string text(refused);
  text += ' ';
  return text += without_arguments(error_reply);
}

std::string_view without_arguments(std::string_view error_reply) noexcept {
  return error_reply.substr(0, error_reply.find(echo));
}

Error about(Errc code, std::string_view key, const std::string& server,
            std::string_view explanation, bool in_doubt) {
  std::string what;
  if (!key.empty()) what = "lock \"" + printable(key) + "\" on ";
  what += server;
  what += ": ";
  what += explanation;
  return Error(code, what, server, in_doubt);
}

std::string explain(std::string_view error_reply, Sender sender) {
  // The server's own words, since an administrator can search for them, then the remedy.
  std::string explanation = "the server said \"";
  const Class known = classified(error_reply, sender);
  if (begins_with_words(error_reply, refused)) {
    error_reply.remove_prefix(std::min(refused.size() + 1, error_reply.size()));
  }
  explanation += known.code == Errc::protocol_error ? without_arguments(error_reply)
                                                    : without_script(error_reply);
  explanation += '"';
  if (known.begins == unknown_in_script) {
    const std::string_view command = command_in_script(error_reply);
    explanation += "; it lacks a command that the lock needs";
    if (!command.empty()) explanation.append(": ").append(command);
  } else if (!known.advice.empty()) {
    explanation += "; ";
    explanation += known.advice;
  }
  return explanation;
}

Error to_error(const Reply& error_reply, std::string_view key, const std::string& server,
               bool in_doubt) {
  return about(classify(error_reply.text), key, server, explain(error_reply.text), in_doubt);
}

}  // namespace redlatch::protocol
