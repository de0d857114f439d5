#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "incident.hpp"

namespace redlatch::test {

/// Notes when the machine has not let a thread run that asks for it all the time. Waiters, servers
/// and clients do not get on then either.
class Pulse {
 public:
  Pulse() = default;
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;
  ~Pulse() { end(); }

  void end();
  /// After `end`.
  const std::vector<Incident>& incidents() const noexcept { return incidents_; }

 private:
  void run();

  std::atomic<bool> is_over_ = false;
  std::vector<Incident> incidents_{};
  std::jthread thread_{[this] { run(); }};
};

}  // namespace redlatch::test
