#include "failovers.hpp"

#include <chrono>

#include "raw_client.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = HistoryClock;

/// Clients hear of a failover, connect again and subscribe again within that time.
constexpr auto recovery = 2s;

}  // namespace

std::pair<Incident, bool> Failovers::order(Fault fault, std::mt19937& random) {
  look();
  const std::optional<Incident> seen = answered([&] { return stage_.fail_over(fault, random); });
  const Moment now = Clock::now();
  Incident incident{.fault = fault, .began = in_step_, .lossy_until = now};
  if (seen) incident = *seen;
  if (!seen) incident.served = incident.healthy = now + recovery;
  primary_ = primary();
  look();
  return {incident, seen.has_value()};
}

void Failovers::look() {
  const Moment now = Clock::now();
  const std::optional<std::size_t> seen = primary();
  if (!seen) return;
  if (primary_ && seen != primary_) {
    const Moment end = Clock::now() + recovery;
    unordered_.push_back({.fault = Fault::unordered,
                          .began = in_step_,
                          .lossy_until = end,
                          .served = end,
                          .healthy = end});
  }
  primary_ = seen;
  if (stage_.is_in_step()) in_step_ = now;
}

std::optional<std::size_t> Failovers::primary() {
  return answered([&] { return std::optional(stage_.primary()); });
}

}  // namespace redlatch::test
