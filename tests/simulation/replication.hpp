#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "sim_server.hpp"
#include "world.hpp"

namespace redlatch::test {

/// What a lock's key had at a server that is not the primary any more, and the primary has not.
struct LostWrite {
  std::string key{};
  std::string value{};     // of the lock, or of one of its holders
  SimTime at{};            // when it was written
  SimTime until{};         // when it would have expired
  std::size_t failover{};  // the number of that which has lost it, from 0 on
  bool at_former = false;  // it was written after that
};

/// A primary and its replicas, to which its writes come a little later: asynchronous replication.
/// It knows exactly which writes are lost when a replica becomes the primary.
class Replication {
 public:
  /// A write is on its way for up to `max_delay`.
  Replication(World& world, SimTime max_delay) : world_(world), max_delay_(max_delay) {}
  Replication(const Replication&) = delete;
  Replication& operator=(const Replication&) = delete;

  /// The first is the primary.
  void add(SimServer& server);
  std::size_t size() const noexcept { return members_.size(); }
  SimServer& server(std::size_t member) { return *members_[member].server; }
  const SimServer& server(std::size_t member) const { return *members_[member].server; }
  std::size_t primary() const noexcept { return primary_; }
  SimServer& primary_server() { return server(primary_); }
  const SimServer& primary_server() const { return server(primary_); }
  std::size_t member(const SimServer& server) const;
  /// Whether it has had the data of the primary, and gets its writes.
  bool follows(std::size_t member) const noexcept { return members_[member].follows; }
  /// Whether all others do.
  bool is_complete() const;

  /// What is written reaches the replica `time` later at least, and so does what is on its way.
  void delay(std::size_t replica, SimTime time);
  /// The primary has all of its data and is sent nothing until the replica has it all.
  void catch_up(std::size_t replica);
  /// The replica, with what it has got, is the primary from now on. The others follow nothing.
  void promote(std::size_t replica);
  /// Has it be a replica, which gets the data of the primary after `time`, if both run then.
  void follow(std::size_t member, SimTime time);
  /// Gets what came while the server was stopped, and goes on waiting.
  void go_on(std::size_t member);
  /// It has none of its data any more.
  void forget(std::size_t member);

  const std::vector<LostWrite>& lost() const noexcept { return lost_; }
  /// When each failover was.
  const std::vector<SimTime>& failovers() const noexcept { return failovers_; }

 private:
  using Changes = FakeReplicas::Changes;
  struct Write {
    SimTime at;
    Changes changes;
  };
  /// A server of the group, as the replicas of that server see it.
  class Member final : public FakeReplicas {
   public:
    Member(Replication& group, std::size_t number, SimServer& of)
        : server(&of), group_(group), number_(number) {}
    std::uint64_t write(Changes changes) override {
      return group_.write(number_, std::move(changes));
    }
    int confirmed(std::uint64_t writes) const override { return group_.confirmed(number_, writes); }
    void wait(std::chrono::milliseconds time) override { group_.wait(number_, time); }

    SimServer* server;
    bool follows = false;
    std::uint64_t has = 0;         // the number of the last write that it has, or has made
    std::uint64_t arrived = 0;     // the last that has come
    std::uint64_t confirmed_ = 0;  // the last of which the primary knows that it has it
    std::uint64_t epoch = 0;       // of what it follows
    SimTime next{};                // what is sent now arrives no sooner
    SimTime delayed{};             // nothing arrives sooner

   private:
    Replication& group_;
    std::size_t number_;
  };

  std::uint64_t write(std::size_t from, Changes changes);
  int confirmed(std::size_t at, std::uint64_t writes) const;
  void wait(std::size_t at, std::chrono::milliseconds time);
  void send(std::size_t replica, std::uint64_t number);
  void take(std::size_t replica);
  void confirm(std::size_t replica);
  void answer_waits(std::size_t at);
  void copy(std::size_t member, std::uint64_t epoch);
  void note_lost(std::size_t at, const Write& write, bool at_former);
  void forget_old_writes();
  std::uint64_t end() const noexcept { return first_ + writes_.size(); }

  World& world_;
  const SimTime max_delay_;
  std::deque<Member> members_{};
  std::size_t primary_ = 0;
  // The writes of the primary, from number `first_ + 1` on, that not all replicas have.
  std::deque<Write> writes_{};
  std::uint64_t first_ = 0;
  std::vector<LostWrite> lost_{};
  std::vector<SimTime> failovers_{};
};

}  // namespace redlatch::test
