#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

#include "net/resp_stream.hpp"

namespace redlatch::detail {

/// A compare-and-delete or compare-and-expire script as a transaction: WATCH, a look at the key,
/// MULTI, the change, and EXEC, which makes the change if no other client has changed the key since
/// WATCH, else all of it begins again. Source: redis.io/docs/latest/develop/interact/transactions,
/// "optimistic locking using check-and-set".
///
/// No socket: it appends its commands to a stream and is fed the replies. No other command may be
/// sent on the connection until it is over. However it ends, nothing is watched any more.
class GuardedChange {
 public:
  /// Begins with the first four commands. The texts of `call` have to outlive the change, or be
  /// `abandoned`. `asks`: the key is being moved to this node of a cluster.
  void begin(const protocol::Command& call, RespStream& stream, bool asks = false);
  /// The kind of the next reply.
  protocol::Expect expected() const noexcept;
  /// Takes the next reply, and appends what follows from it. `end`: from then on a change of the
  /// key ends it. Nothing: it goes on, unless it `kept_changing`.
  std::optional<protocol::Reply> received(protocol::Reply reply, TimePoint now, TimePoint end,
                                          RespStream& stream);
  /// The caller does not wait any more: the change is left out, if EXEC was not sent yet.
  void abandon() noexcept { abandoned_ = true; }
  /// Whether EXEC is sent: no more commands follow, unless the key has changed.
  bool is_sent() const noexcept { return step_ == Step::changing; }
  /// Whether EXEC is sent with a change, and not answered.
  bool may_change() const noexcept { return is_sent() && changes_; }
  /// Counts the next reply as taken. For an abandoned change whose EXEC is sent.
  void skip() noexcept { ++count_; }
  bool is_answered() const noexcept { return count_ == (changes_ ? 2U : 1U); }
  /// Whether it has ended without a change because the key was changed again and again.
  bool kept_changing() const noexcept { return step_ == Step::given_up; }

 private:
  enum class Step {
    looking,   // until WATCH, EXISTS, GETRANGE and MULTI are answered
    changing,  // until the change, if there is one, and EXEC are answered
    given_up
  };

  void look(RespStream& stream);
  std::optional<protocol::Reply> looked(RespStream& stream);
  std::optional<protocol::Reply> changed();

  protocol::Command call_{protocol::Expect::anything};
  Step step_ = Step::looking;
  bool abandoned_ = false;
  bool asks_ = false;
  std::array<protocol::Reply, 4> replies_{};  // in this step
  std::size_t count_ = 0;                     // of them
  bool changes_ = false;       // the key is ours, so there is a change in front of EXEC
  protocol::Reply outcome_{};  // if there is no change
};

}  // namespace redlatch::detail
