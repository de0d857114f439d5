#include "pulse.hpp"

#include <chrono>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

constexpr auto period = 5ms;
/// That is of no account: clients give up after 100 ms at the earliest.
constexpr auto longest_stall = 50ms;
constexpr auto recovery_of_clients = 1s;  // whose calls have timed out meanwhile

}  // namespace

void Pulse::end() {
  is_over_ = true;
  if (thread_.joinable()) thread_.join();
}

void Pulse::run() {
  Moment last = HistoryClock::now();
  while (!is_over_) {
    std::this_thread::sleep_for(period);
    const Moment now = HistoryClock::now();
    if (now - last > longest_stall) {
      incidents_.push_back({.fault = Fault::machine_busy,
                            .began = last,
                            .lossy_until = now,
                            .served = now + recovery_of_clients,
                            .healthy = now + recovery_of_clients});
    }
    last = now;
  }
}

}  // namespace redlatch::test
