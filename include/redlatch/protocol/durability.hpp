#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

/// Where a lock has to be stored. Both commands concern what was written on the same connection
/// before, so they have to follow a change in the same batch. They block for at most `time`, until
/// the change is stored there.
namespace redlatch::protocol {

/// On a number of replicas. Source: redis.io/docs/latest/commands/wait.
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
  static constexpr std::string_view remedy =
      "see INFO replication at the server: durability.replicas may be more than there are";

 private:
  std::int64_t wanted_;
};

/// On the server's own disk. Source: redis.io/docs/latest/commands/waitaof.
class Disk {
 public:
  static Command ask(std::chrono::milliseconds time) {
    return Command(Expect::array_or_nil, "WAITAOF", std::int64_t{1}, std::int64_t{0}, time);
  }
  static bool has_it(const Reply& reply) noexcept {
    return !reply.elements.empty() && reply.elements.front().integer >= 1;
  }
  static constexpr std::string_view remedy =
      "see INFO persistence at the server: its disk may be slow";
  static std::string lack(const Reply&) {
    return "the append-only file does not have the lock on disk yet";
  }
};

}  // namespace redlatch::protocol
