#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <redlatch/options.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::protocol {

/// What asks where a change has got to. It is about what was written on the same connection before,
/// so that it has to follow a change in the same batch.
/// Sources: redis.io/docs/latest/commands/wait, redis.io/docs/latest/commands/waitaof.
class DurabilityQuestions {
 public:
  /// The server takes at most `patience` to answer, as long as it has not got there.
  DurabilityQuestions(const Durability& wanted, std::chrono::milliseconds patience)
      : wanted_(wanted) {
    const auto time = std::max(patience, std::chrono::milliseconds(1));  // 0 would be for ever
    if (wanted.replicas > 0) {
      commands_[size_++] = Command(Expect::integer, "WAIT", std::int64_t{wanted.replicas}, time);
    }
    if (wanted.aof) {
      commands_[size_++] =
          Command(Expect::array_or_nil, "WAITAOF", std::int64_t{1}, std::int64_t{0}, time);
    }
  }

  static bool any(const Durability& wanted) noexcept { return wanted.replicas > 0 || wanted.aof; }
  std::span<const Command> commands() const noexcept { return {commands_.data(), size_}; }

  /// Whether the reply to the i-th of them says enough.
  bool suffices(std::size_t i, const Reply& reply) const noexcept {
    if (asks_for_replicas(i)) return reply.integer >= wanted_.replicas;
    return !reply.elements.empty() && reply.elements.front().integer >= 1;
  }
  /// What it says when that is not enough.
  std::string lack(std::size_t i, const Reply& reply) const {
    if (!asks_for_replicas(i)) return "the server's append-only file does not have the lock yet";
    return std::to_string(reply.integer) + " of " + std::to_string(wanted_.replicas) +
           " replicas have the lock";
  }

 private:
  bool asks_for_replicas(std::size_t i) const noexcept { return i == 0 && wanted_.replicas > 0; }

  Durability wanted_;
  std::array<Command, 2> commands_{Command(Expect::anything), Command(Expect::anything)};
  std::size_t size_ = 0;
};

}  // namespace redlatch::protocol
