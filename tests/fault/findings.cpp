#include <algorithm>
#include <iomanip>
#include <ostream>

#include "history_check.hpp"

namespace redlatch::test {
namespace {

using std::chrono::milliseconds;

void print_times(std::ostream& out, std::vector<milliseconds> times) {
  if (times.empty()) {
    out << std::setw(20) << "none";
    return;
  }
  std::ranges::sort(times);
  out << std::setw(9) << times[times.size() / 2].count() << std::setw(11) << times.back().count();
}

}  // namespace

std::string_view to_string(Promise promise) noexcept {
  switch (promise) {
    case Promise::exclusion:
      return "one holder, or as many as may be";
    case Promise::validity:
      return "no claim behind the validity";
    case Promise::fencing:
      return "fencing tokens rise";
    case Promise::keeping:
      return "no loss without a cause";
    case Promise::waiters:
      return "waiters acquire";
    case Promise::nothing_left:
      return "nothing is left";
    case Promise::own_keys:
      return "no script changes another's key";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, const Findings& found) {
  out << "                              to acquisition [ms]    to renewal [ms]\n"
         "failover by            number   median    longest   median    longest\n";
  for (const auto& [fault, times] : found.to_acquisition) {
    out << std::left << std::setw(27) << to_string(fault) << std::right << std::setw(2)
        << times.size();
    print_times(out, times);
    const auto renewals = found.to_renewal.find(fault);
    print_times(
        out, renewals == found.to_renewal.end() ? std::vector<milliseconds>() : renewals->second);
    out << '\n';
  }
  out << "durability.replicas: held, not renewed in time, lost by\n";
  for (const auto& [replicas, losses] : found.losses) {
    out << std::setw(19) << replicas << ": " << losses.held << ", " << losses.ran_out;
    for (const auto& [fault, lost] : losses.lost) out << ", " << to_string(fault) << ' ' << lost;
    out << '\n';
  }
  out << "claims: " << found.claims << ", renewals: " << found.renewals
      << ", overlaps of claims whose write may be lost: " << found.excused_overlaps
      << ", longest wait: " << found.longest_wait.count()
      << " ms, longest time free and waited for: " << found.longest_gap.count()
      << " ms\nviolations: " << found.violations.size() << "\nerrors of calls:\n";
  for (const auto& [error, count] : found.errors)
    out << std::setw(7) << count << " x " << error << '\n';
  return out;
}

}  // namespace redlatch::test
