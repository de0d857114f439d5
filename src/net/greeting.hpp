#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/settings.hpp"
#include "net/resp_stream.hpp"

namespace redlatch::detail {

/// The first commands on a connection, in one batch: AUTH, SELECT, ROLE for a server of Sentinel's,
/// CLIENT SETNAME, then SCRIPT LOAD, or COMMAND INFO without scripting, and INFO for a quorum's
/// server. A refusal of ROLE, of the name or of scripts is not an error.
class Greeting {
 public:
  enum class Scope {
    whole,   // with optional commands: the usual one
    needed,  // without them: where the server, or a proxy, has closed a connection at them
    least    // also without the id of a quorum's server
  };

  Greeting(const Settings& settings, const Credentials& credentials, Scope scope);
  Greeting(const Greeting&) = delete;
  Greeting& operator=(const Greeting&) = delete;
  ~Greeting() = default;

  void append_to(RespStream& stream) const;
  /// Checks the replies that have come; true when all have. Throws `IoError` when the server
  /// refuses the client.
  bool receive_available(RespStream& stream);
  /// Whether the server has answered at least one command, in the Redis protocol.
  bool has_answers() const noexcept { return answered_ > 0; }
  /// None when the greeting did not ask: with scripting they are asked for after a refusal.
  const std::optional<protocol::Abilities>& abilities() const noexcept { return abilities_; }

 private:
  using Check = std::function<void(const protocol::Reply&)>;
  struct Query {
    protocol::Command command;
    Check check;
  };

  template <class... Words>
  void add(Check check, Words&&... words);
  void add_login(const Credentials& credentials, int database, protocol::Sender sender);
  void add_optional(const Settings& settings);
  void add_scripts();
  void add_info(const NodeRole& role, Scope scope);

  std::vector<Query> queries_{};
  std::size_t answered_ = 0;  // of the queries, in order
  std::optional<protocol::Abilities> abilities_{};
};

}  // namespace redlatch::detail
