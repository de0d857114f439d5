#pragma once

#include <optional>
#include <span>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/reply.hpp>

#include "connection.hpp"
#include "url.hpp"

namespace redlatch::detail {

/// A connection that has logged in, and what is known of the server at its other end: which of the
/// forms of a script it takes. Everything throws `IoError`, after which only `in_doubt`,
/// `send_undo`, `read_owed` and `abandon` make sense.
class Session {
 public:
  /// Connects and logs in: AUTH, SELECT, CLIENT SETNAME and the scripts in one batch. A refusal of
  /// the last two is not an error.
  Session(const Endpoint& endpoint, const ClientOptions& options, TimePoint deadline);

  /// Says the commands in one batch and leaves a reply for each in `replies`. A script that the
  /// server does not know, or does not let its user run, is said in another way.
  void run(std::span<const protocol::Command> commands, std::vector<protocol::Reply>& replies,
           TimePoint deadline);

  bool idle() const noexcept { return connection_.idle(); }
  bool in_doubt() const noexcept { return connection_.in_doubt(); }
  void abandon() noexcept { connection_.abandon(); }

  /// Sends a script behind what is still unanswered, without waiting; false when this server can
  /// only be told in a conversation, which has to wait for the answers.
  bool send_undo(const protocol::Command& undo);
  /// Takes in what has come. The last reply of all when everything is answered, else nothing.
  std::optional<protocol::Reply> read_owed();
  int fd() const noexcept { return connection_.fd(); }

 private:
  void greet(const Endpoint& endpoint, const ClientOptions& options, TimePoint deadline);
  protocol::Reply say(const protocol::Command& command, TimePoint deadline,
                      ScriptCall call = ScriptCall::by_hash);
  protocol::Reply answer(const protocol::Command& command, TimePoint deadline);
  protocol::Reply descend(const protocol::Command& call, protocol::Form form,
                          protocol::Reply refusal, TimePoint deadline);
  protocol::Reply guarded(const protocol::Command& call, TimePoint deadline);
  std::optional<protocol::Reply> try_guarded(const protocol::Command& call, TimePoint deadline);

  Connection connection_;
  protocol::Abilities abilities_{};
  bool asked_for_abilities_ = false;
};

}  // namespace redlatch::detail
