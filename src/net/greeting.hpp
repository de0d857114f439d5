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

/// What a client says first, in one batch: AUTH, SELECT, CLIENT SETNAME, the scripts or a question
/// about what replaces them, and how long the server has been running, as far as that is wanted. A
/// refusal of a name or of scripts is not an error.
class Greeting {
 public:
  /// What a client can do without is left out where a connection was closed at it. `least`: also
  /// the id of a quorum's server.
  enum class Scope { whole, needed, least };

  Greeting(const Settings& settings, Scope scope);
  Greeting(const Greeting&) = delete;
  Greeting& operator=(const Greeting&) = delete;
  ~Greeting() = default;

  void append_to(RespStream& stream) const;
  /// Takes the replies that have come; true when all have. Throws `IoError` when the server refuses
  /// the client.
  bool receive_available(RespStream& stream);
  /// Whether the server has said anything that could be understood.
  bool has_answers() const noexcept { return answered_ > 0; }
  /// Unknown when there was no need to ask.
  const std::optional<protocol::Abilities>& abilities() const noexcept { return abilities_; }

 private:
  using Check = std::function<void(const protocol::Reply&)>;
  struct NodeCall {
    protocol::Command command;
    Check check;
  };

  template <class... Words>
  void add(Check check, Words&&... words);
  void add_login(const Endpoint& endpoint);
  void add_optional(const Settings& settings);
  void add_info(const NodeRole& role, Scope scope);

  std::vector<NodeCall> parts_{};
  std::size_t answered_ = 0;  // of them
  std::optional<protocol::Abilities> abilities_{};
};

}  // namespace redlatch::detail
