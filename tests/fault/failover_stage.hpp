#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "history.hpp"
#include "incident.hpp"
#include "loopback.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "sentinel_trio.hpp"

namespace redlatch::test {

/// Servers that fail over: a primary and two replicas.
class Stage {
 public:
  static constexpr int replicas = 2;
  /// A server that was killed or stopped comes back a random time after the new primary is known.
  static constexpr unsigned longest_absence_in_ms = 500;

  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;

  virtual std::string url() const = 0;
  /// The servers that may hold locks.
  struct Server {
    std::uint16_t port;  // that clients connect to
    std::string socket;
  };
  virtual std::vector<Server> servers() = 0;
  /// The number of the primary among them. Throws std::runtime_error where there is none.
  virtual std::size_t primary() = 0;
  /// Whether the primary's replicas have what is written to it now.
  bool is_in_step();
  virtual std::span<const Fault> faults() const = 0;
  /// Comes back when all replicas of the new primary are in step. Nothing when it was not seen to
  /// happen.
  virtual std::optional<Incident> fail_over(Fault fault, std::mt19937& random) = 0;
};

/// A name that leads to the primary, and is moved by hand after it was promoted. What it leads to
/// is `shared.address`, which workers set with `set_address`.
class NameStage : public Stage {
 public:
  explicit NameStage(History::Shared& shared,
                     std::chrono::milliseconds lossy = std::chrono::milliseconds(0));

  std::string url() const override;
  std::vector<Server> servers() override;
  std::size_t primary() override { return primary_; }
  std::span<const Fault> faults() const override;
  std::optional<Incident> fail_over(Fault fault, std::mt19937& random) override;

 private:
  static constexpr std::array addresses{"127.0.0.1", "127.0.0.2", "127.0.0.3"};

  RawClient at(std::size_t number) { return RawClient(servers_[number]->socket()); }
  void follow(std::size_t number, std::size_t primary);
  void promote(std::size_t number);
  bool is_healthy();

  History::Shared& shared_;
  std::chrono::milliseconds lossy_;
  ReservedPort port_{{addresses.begin(), addresses.end()}};
  std::array<std::unique_ptr<RedisServer>, addresses.size()> servers_{};
  std::size_t primary_ = 0;
};

/// Three sentinels.
class SentinelStage : public Stage {
 public:
  explicit SentinelStage(TrioOptions options = {}) : trio_(std::move(options)) {}

  std::string url() const override { return trio_.url(); }
  std::vector<Server> servers() override;
  std::size_t primary() override;
  std::span<const Fault> faults() const override;
  std::optional<Incident> fail_over(Fault fault, std::mt19937& random) override;

 private:
  void end(Fault fault, std::size_t old, std::mt19937& random);

  SentinelTrio trio_;
};

}  // namespace redlatch::test
