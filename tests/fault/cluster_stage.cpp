#include "cluster_stage.hpp"

#include <array>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "eventually.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = HistoryClock;

constexpr auto patience_with_nodes = 40s;  // on a busy machine

}  // namespace

std::vector<Stage::Server> ClusterStage::servers() {
  std::vector<Server> all;
  for (std::size_t i = 0; i < cluster_.size(); ++i) {
    all.push_back({cluster_.port(i), cluster_.node(i).socket()});
  }
  return all;
}

std::size_t ClusterStage::primary() {
  const std::optional<std::size_t> primary = cluster_.primary_of(slot_);
  if (!primary) throw std::runtime_error("there is no primary");
  return *primary;
}

std::span<const Fault> ClusterStage::faults() const {
  static constexpr std::array all{Fault::kill,  Fault::moved,   Fault::stop,
                                  Fault::moved, Fault::planned, Fault::takeover};
  return all;
}

std::optional<Incident> ClusterStage::fail_over(Fault fault, std::mt19937& random) {
  Moment begun{};
  const auto looks_agreed = [&] {
    begun = Clock::now();
    return cluster_.becomes_agreed(0ms);
  };
  const auto old =
      eventually(looks_agreed, patience_with_nodes) ? cluster_.primary_of(slot_) : std::nullopt;
  if (!old) return std::nullopt;
  Incident seen{.fault = fault, .began = begun};
  bool landed = begin(fault, *old, random);
  seen.lossy_until = Clock::now();
  landed = landed && cluster_.promoted_from(*old, slot_).has_value();
  seen.served = Clock::now();
  end(fault, *old, random);
  if (!cluster_.becomes_agreed() || !landed) return std::nullopt;
  seen.healthy = Clock::now();
  // The old primary goes on until it hears that it is none any more.
  if (fault == Fault::takeover) seen.lossy_until = seen.healthy;
  return seen;
}

bool ClusterStage::begin(Fault fault, std::size_t old, std::mt19937& random) {
  switch (fault) {
    case Fault::kill:
      cluster_.node(old).kill();
      return true;
    case Fault::stop:
      cluster_.node(old).pause();
      return true;
    case Fault::planned:
      return cluster_.fail_over(old).has_value();
    case Fault::takeover: {
      const std::optional<std::size_t> replica = cluster_.replica_of(old);
      return replica && cluster_.take_over(*replica);
    }
    case Fault::moved: {
      // To one of the other primaries, in steps, so that workers meet a slot that is half moved.
      std::optional<std::size_t> to;
      const unsigned third = static_cast<unsigned>(random() % 16384);
      for (unsigned slot = third; !to || *to == old; slot = (slot + 997) % 16384) {
        to = cluster_.primary_of(slot);
      }
      cluster_.begin_move(slot_, *to);
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
      cluster_.move_keys(slot_, *to);
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
      cluster_.finish_move(slot_, *to);
      return true;
    }
    default:
      return false;
  }
}

/// One that was killed comes back empty, one that was stopped with what it had; both take
/// themselves for a primary until they hear of the other one.
void ClusterStage::end(Fault fault, std::size_t old, std::mt19937& random) {
  if (fault != Fault::kill && fault != Fault::stop) return;
  std::this_thread::sleep_for(std::chrono::milliseconds(random() % longest_absence_in_ms));
  fault == Fault::kill ? cluster_.node(old).start() : cluster_.node(old).resume();
}

}  // namespace redlatch::test
