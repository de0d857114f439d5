#include "net/greeting.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;
using protocol::Sender;

namespace {

/// Scripts are loaded ahead, so that the first release is not answered with NOSCRIPT.
constexpr std::array scripts{&protocol::release_script, &protocol::extend_script};

/// Throws when the server refuses the client, as opposed to the command. Most checks begin with it:
/// a server may answer any command of the batch so.
void check_admission_by(Sender sender, const Reply& reply) {
  if (!reply.is_error()) return;
  const Errc code = protocol::classify(reply.text);
  if (code == Errc::authentication_failed || code == Errc::unreachable ||
      reply.text.starts_with("DENIED")) {
    throw IoError(code, protocol::explain(reply.text, sender));
  }
}
void check_admission(const Reply& reply) { check_admission_by(Sender::server, reply); }

/// A server that loads its data, or is busy with a script, has not looked at the password.
void check_login(Sender sender, const Reply& reply) {
  check_admission_by(sender, reply);
  if (!reply.is_error()) return;
  const bool later = protocol::classify(reply.text) == Errc::not_writable;
  throw IoError(later ? Errc::not_writable : Errc::authentication_failed,
                protocol::explain(reply.text, sender));
}

void check_database(const Reply& reply) {
  check_admission(reply);
  if (!reply.is_error()) return;
  const Errc code = protocol::classify(reply.text);
  if (code != Errc::protocol_error) throw IoError(code, protocol::explain(reply.text));
  throw IoError(Errc::invalid_argument,
                protocol::explain(reply.text) + "; check the database number in the URL");
}

/// Sentinel may name a server that has become a replica a moment ago. A user who may not ask finds
/// out by READONLY.
void check_primary(const Reply& role) {
  check_admission(role);
  if (role.is_error() && protocol::classify(role.text) == Errc::not_writable) {
    throw IoError(Errc::not_writable, protocol::explain(role.text));
  }
  if (role.elements.empty() || role.elements.front().text == "master") return;
  throw IoError(Errc::not_writable, "it is a replica (any more, or still)");
}

/// INFO subtracts whole seconds from whole seconds, so its answer may be almost a second more than
/// the uptime.
void check_uptime(const Reply& info, std::chrono::milliseconds least) {
  if (info.is_error()) throw IoError(protocol::classify(info.text), protocol::explain(info.text));
  if (protocol::uptime_in(info) - std::chrono::seconds(1) >= least) return;
  throw IoError(
      Errc::not_writable,
      "it has been running for less than min_uptime, so that it may have forgotten locks");
}

/// The id that a server has until it restarts. Empty when the server does not send it to this user.
std::string_view id_in(const Reply& info) noexcept {
  constexpr std::string_view name = "run_id:";
  const std::string_view text = info.is_error() ? std::string_view() : info.text;
  const std::size_t place = text.find(name);
  if (place == std::string_view::npos) return {};
  const std::string_view rest = text.substr(place + name.size());
  return rest.substr(0, rest.find_first_of("\r\n"));
}

/// Without scripts a lock on several servers could be acquired, but neither extended nor released.
void check_scripts(const Reply& reply, std::string_view command) {
  check_admission(reply);
  if (!reply.is_error()) return;
  const bool refuses = protocol::refuses_command(reply.text);
  if (!refuses && !protocol::refuses_by_name(reply.text, command)) return;
  const std::string refusal = refuses ? reply.text : protocol::as_refusal(reply.text);
  throw IoError(protocol::classify(refusal),
                protocol::explain(refusal) + "; a lock on several servers needs scripts");
}

}  // namespace

template <class... Words>
void Greeting::add(Check check, Words&&... words) {
  queries_.push_back({.command = Command(Expect::anything, words...), .check = std::move(check)});
}

Greeting::Greeting(const Settings& settings, const Credentials& credentials, Scope scope) {
  if (!settings.options.scripting) abilities_ = protocol::read_abilities({});  // as little as none
  const Sender sender = settings.role.is_sentinel ? Sender::sentinel : Sender::server;
  add_login(credentials, settings.endpoint.database, sender);
  if (settings.role.must_be_primary) add(check_primary, "ROLE");
  if (scope == Scope::whole && !settings.role.only_login) add_optional(settings);
  add_info(settings.role, scope);
  if (settings.role.only_scripts) add_scripts();
  // A server at its limit of clients accepts a connection and closes it at once, so at least one
  // command has to be answered.
  if (queries_.empty()) add(std::bind_front(check_admission_by, sender), "PING");
}

void Greeting::add_optional(const Settings& settings) {
  const ClientOptions& options = settings.options;
  if (!options.client_name.empty()) {
    add(check_admission, "CLIENT", "SETNAME", options.client_name);
  }
  if (options.scripting) {
    for (const protocol::Script* script : scripts) {
      add(check_admission, "SCRIPT", "LOAD", script->text);
    }
  } else {
    queries_.push_back({.command = protocol::ask_abilities(), .check = [this](const Reply& reply) {
                          check_admission(reply);
                          abilities_ = protocol::read_abilities(reply);
                        }});
  }
}

/// Without `min_uptime` the id is optional: a proxy that closes connections at INFO is sent PING.
void Greeting::add_info(const NodeRole& role, Scope scope) {
  const auto least = role.min_uptime;
  const bool has_least = least > std::chrono::milliseconds::zero();
  if (!has_least && !role.admit) return;
  if (role.has_optional_id() && scope == Scope::least) {
    return add(
        [admit = role.admit](const Reply& reply) {
          check_admission(reply);
          admit({});
        },
        "PING");
  }
  add(
      [least, has_least, admit = role.admit](const Reply& reply) {
        if (has_least) check_uptime(reply, least);
        if (admit) admit(id_in(reply));
      },
      "INFO", "server");
}

/// Proxies route a script by its first key. A user who may not use that key may use scripts.
void Greeting::add_scripts() {
  for (const std::string_view command : {"EVAL", "EVALSHA"}) {
    const protocol::Script& script = protocol::harmless_script;
    add([command](const Reply& reply) { check_scripts(reply, command); }, command,
        command == "EVAL" ? script.text : script.sha1(), std::int64_t{1}, "redlatch");
  }
}

void Greeting::add_login(const Credentials& credentials, int database, Sender sender) {
  const auto check = std::bind_front(check_login, sender);
  if (!credentials.user.empty()) {
    add(check, "AUTH", credentials.user, credentials.password);
  } else if (!credentials.password.empty()) {
    add(check, "AUTH", credentials.password);
  }
  if (database != 0) add(check_database, "SELECT", std::int64_t{database});
}

void Greeting::append_to(RespStream& stream) const {
  for (const Query& query : queries_) stream.append(query.command);
}

// In the order of the commands, so the error is that of the first refusal: NOAUTH to all commands
// behind a wrong password is only its consequence.
bool Greeting::receive_available(RespStream& stream) {
  while (answered_ < queries_.size()) {
    const auto reply = stream.next(Expect::anything);
    if (!reply) return false;
    queries_[answered_++].check(*reply);
  }
  return true;
}

}  // namespace redlatch::detail
