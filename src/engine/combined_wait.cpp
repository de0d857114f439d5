#include "engine/combined_wait.hpp"

#include <algorithm>
#include <iterator>

namespace redlatch::detail {

namespace {

/// Whether two commands differ at most in their last argument, the time.
bool are_alike(const protocol::Command& pending, const protocol::Command& other) {
  const auto texts = [](const protocol::Argument& argument) { return argument.text(); };
  const auto all = pending.arguments();
  const auto others = other.arguments();
  return std::ranges::equal(all.first(all.size() - 1), others.first(others.size() - 1), {}, texts,
                            texts);
}

}  // namespace

bool CombinedWait::can_add(const PendingRequest& pending) const {
  if (count_ == 0) return true;
  return are_alike(pipeline_.in_flight.back().last_command(), pending.last_command());
}

void CombinedWait::add(PendingRequests& from, PendingRequests::iterator pending, TimePoint now) {
  pipeline_.append_without_wait(from, pending, now);
  ++count_;
  pending->blocks = pending->time_to_block(now);
}

void CombinedWait::append() {
  if (count_ == 0) return;
  const std::chrono::milliseconds asked = time();
  const auto end = pipeline_.in_flight.end();
  for (auto pending = std::prev(end, static_cast<std::ptrdiff_t>(count_)); pending != end;
       ++pending) {
    pending->cut_short = asked < pending->blocks;
    pending->blocks = asked;
  }
  PendingRequest& last = pipeline_.in_flight.back();
  pipeline_.append_wait(last, last.last_command().with_last(asked));
  count_ = 0;
}

/// The longest time of the requests, limited by the slack behind the shortest.
std::chrono::milliseconds CombinedWait::time() const {
  const auto end = pipeline_.in_flight.end();
  const auto [shortest, longest] = std::minmax_element(
      std::prev(end, static_cast<std::ptrdiff_t>(count_)), end,
      [](const PendingRequest& a, const PendingRequest& b) { return a.blocks < b.blocks; });
  return std::min(longest->blocks, shortest->blocks + slack_);
}

}  // namespace redlatch::detail
