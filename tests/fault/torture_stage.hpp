#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "failover_stage.hpp"
#include "history.hpp"
#include "history_check.hpp"
#include "links.hpp"
#include "nemesis.hpp"
#include "servers.hpp"

namespace redlatch::test {

/// What one round has come to.
struct RoundResult {
  std::size_t histories = 0;   // of resources that were held at all
  std::size_t operations = 0;  // calls that acquire, and what followed from them
  /// Changes of keys by scripts that were checked in the server's own stream of commands.
  std::size_t seen_in_stream = 0;
  std::size_t stalls = 0;  // of the machine
  Findings findings{};
  std::map<Fault, FaultCount> faults{};
  std::vector<std::string> crashes{};  // of workers
  std::string report{};                // of the first violations, with the history around each
};

/// Servers of one kind, whose locks are used under faults, in rounds.
class TortureStage {
 public:
  static std::span<const std::string_view> names() noexcept;

  /// One of `names`.
  explicit TortureStage(std::string_view name);

  /// Those that are possible here.
  std::span<const Fault> faults() const noexcept { return faults_; }
  /// Workers with locks of all classes that are possible here; faults of these kinds for so long;
  /// then the time in which waiters have to acquire. What is drawn is drawn from the seed.
  RoundResult run(std::uint64_t seed, std::span<const Fault> faults,
                  std::chrono::milliseconds time);

 private:
  class Round;

  void use_servers(std::size_t count, bool tls);
  void use_stage(std::unique_ptr<Stage> stage, int replicas);
  void add_faults(std::span<const Fault> own);
  void add_roles(bool has_databases);
  void add_redlocks();
  Role& add(const char* name, LockKind kind, std::size_t resource);
  std::vector<std::string> sockets();

  int replicas_ = 0;
  bool is_quorum_ = false;
  bool tls_ = false;
  std::vector<Role> roles_{};
  std::vector<int> capacities_{};
  std::size_t keys_ = 0;  // of the first database
  std::vector<Fault> faults_{};
  std::vector<std::string> targets_{};  // of proxies: the servers, by number
  std::unique_ptr<Servers> servers_{};
  std::unique_ptr<Stage> stage_{};
};

}  // namespace redlatch::test
