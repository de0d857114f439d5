#include "failover_stage.hpp"

#include <stdexcept>
#include <thread>
#include <vector>

#include "eventually.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = HistoryClock;

constexpr auto patience_with_sentinels = 40s;  // on a busy machine

bool is_primary(RawClient client) {
  const RawReply role = client.command({"ROLE"});
  return !role.elements.empty() && role.elements[0].text == "master";
}

}  // namespace

bool Stage::is_in_step() {
  return answered([&] {
    return are_in_step(RawClient(servers().at(primary()).socket), replicas, key_of("in step?"));
  });
}

NameStage::NameStage(History::Shared& shared, std::chrono::milliseconds lossy)
    : shared_(shared), lossy_(lossy) {
  const std::string port = std::to_string(port_.number());
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    servers_[i] = std::make_unique<RedisServer>(std::vector<std::string>{
        "--bind", addresses[i], "--port", port, "--repl-diskless-sync-delay", "0"});
    if (i > 0) follow(i, 0);
  }
  if (!eventually([&] { return is_healthy(); })) throw std::runtime_error("no replicas");
}

std::string NameStage::url() const {
  return "redis://redis.test:" + std::to_string(port_.number());
}

std::vector<Stage::Server> NameStage::servers() {
  std::vector<Server> all;
  for (const auto& server : servers_) all.push_back({port_.number(), server->socket()});
  return all;
}

std::span<const Fault> NameStage::faults() const {
  static constexpr std::array all{Fault::name, Fault::kill};
  return std::span(all).first(lossy_ > 0ms ? 1 : all.size());
}

void NameStage::follow(std::size_t number, std::size_t primary) {
  at(number).command({"REPLICAOF", addresses[primary], std::to_string(port_.number())});
}

void NameStage::promote(std::size_t number) {
  at(number).command({"REPLICAOF", "NO", "ONE"});
  primary_ = number;
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    if (i != number && servers_[i]->runs() && !is_primary(at(i))) follow(i, number);
  }
}

bool NameStage::is_healthy() {
  return is_primary(at(primary_)) && are_in_step(at(primary_), servers_.size() - 1);
}

std::optional<Incident> NameStage::fail_over(Fault fault, std::mt19937& random) {
  // What was written before the last look is at the replicas; what is written behind it may not be.
  Moment begun{};
  const auto looks_healthy = [&] {
    begun = Clock::now();
    return is_healthy();
  };
  if (!eventually(looks_healthy)) return std::nullopt;
  const std::size_t old = primary_;
  const std::size_t next = (old + 1 + random() % 2) % servers_.size();
  Incident seen{.fault = fault, .began = begun};
  if (fault == Fault::kill) servers_[old]->kill();
  if (fault == Fault::kill) seen.lossy_until = Clock::now();
  promote(next);
  if (fault == Fault::name) {
    std::this_thread::sleep_for(lossy_);
    shared_.address = next;
    follow(old, next);
    seen.lossy_until = Clock::now();
  }
  shared_.address = next;
  seen.served = Clock::now();
  if (!is_primary(at(next))) return std::nullopt;
  if (fault == Fault::kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % longest_absence_in_ms));
    servers_[old]->start();
    follow(old, next);
  }
  if (!eventually([&] { return is_healthy(); })) return std::nullopt;
  seen.healthy = Clock::now();
  return seen;
}

std::vector<Stage::Server> SentinelStage::servers() {
  std::vector<Server> all;
  for (std::size_t i = 0; i < SentinelTrio::size; ++i) {
    all.push_back({trio_.port(i), trio_.server(i).socket()});
  }
  return all;
}

std::size_t SentinelStage::primary() {
  const std::optional<std::size_t> primary = trio_.primary();
  if (!primary) throw std::runtime_error("there is no primary");
  return *primary;
}

std::span<const Fault> SentinelStage::faults() const {
  static constexpr std::array all{Fault::kill, Fault::stop, Fault::failover};
  return all;
}

std::optional<Incident> SentinelStage::fail_over(Fault fault, std::mt19937& random) {
  // Replicas may fall behind again right after the look.
  Moment begun{};
  const auto looks_healthy = [&] {
    begun = Clock::now();
    return trio_.becomes_healthy(0ms);
  };
  const std::optional<std::size_t> old =
      eventually(looks_healthy, patience_with_sentinels) ? trio_.primary() : std::nullopt;
  if (!old) return std::nullopt;
  Incident seen{.fault = fault, .began = begun};
  if (fault == Fault::kill) trio_.server(*old).kill();
  if (fault == Fault::stop) trio_.server(*old).pause();
  seen.lossy_until = Clock::now();
  const std::optional<std::size_t> next =
      fault == Fault::failover ? trio_.fail_over_from(*old) : trio_.switched_from(*old);
  seen.served = Clock::now();
  // The old primary goes on, until every sentinel can have told every client to leave it.
  if (fault == Fault::failover) seen.lossy_until = seen.served;
  end(fault, *old, random);
  if (!trio_.becomes_healthy() || !next) return std::nullopt;
  seen.healthy = Clock::now();
  return seen;
}

/// One that was killed comes back empty, one that was stopped with what it had; both take
/// themselves for a primary until the sentinels make them replicas.
void SentinelStage::end(Fault fault, std::size_t old, std::mt19937& random) {
  if (fault != Fault::kill && fault != Fault::stop) return;
  std::this_thread::sleep_for(std::chrono::milliseconds(random() % longest_absence_in_ms));
  fault == Fault::kill ? trio_.server(old).start() : trio_.server(old).resume();
}

}  // namespace redlatch::test
