#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

/// Where a change may have got to. The questions are about what was written on the same connection
/// before, so that they have to follow a change in the same batch; the server takes at most `time`
/// to answer, as long as the change has not got there.
namespace redlatch::protocol {

/// Source: redis.io/docs/latest/commands/wait.
class Replicas {
 public:
  explicit Replicas(int wanted) noexcept : wanted_(wanted) {}

  Command ask(std::chrono::milliseconds time) const {
    return Command(Expect::integer, "WAIT", wanted_, time);
  }
  bool has_it(const Reply& reply) const noexcept { return reply.integer >= wanted_; }
  std::string lack(const Reply& reply) const {
    return std::to_string(reply.integer) + " of " + std::to_string(wanted_) +
           " replicas have the lock";
  }

 private:
  std::int64_t wanted_;
};

/// The server's own. Source: redis.io/docs/latest/commands/waitaof.
class Disk {
 public:
  static Command ask(std::chrono::milliseconds time) {
    return Command(Expect::array_or_nil, "WAITAOF", std::int64_t{1}, std::int64_t{0}, time);
  }
  static bool has_it(const Reply& reply) noexcept {
    return !reply.elements.empty() && reply.elements.front().integer >= 1;
  }
  static std::string lack(const Reply&) {
    return "the append-only file does not have the lock on disk yet";
  }
};

}  // namespace redlatch::protocol
