#include "engine/shared_question.hpp"

#include <algorithm>
#include <iterator>

namespace redlatch::detail {

namespace {

/// The same but for the time, which comes last.
bool are_alike(const protocol::Command& pending, const protocol::Command& other) {
  const auto texts = [](const protocol::Argument& argument) { return argument.text(); };
  const auto all = pending.arguments();
  const auto others = other.arguments();
  return std::ranges::equal(all.first(all.size() - 1), others.first(others.size() - 1), {}, texts,
                            texts);
}

}  // namespace

bool SharedQuestion::takes(const PendingRequest& pending) const {
  if (count_ == 0) return true;
  return are_alike(pipeline_.in_flight.back().last_command(), pending.last_command());
}

void SharedQuestion::add(PendingRequests& from, PendingRequests::iterator pending, TimePoint now) {
  pipeline_.append_change(from, pending, now);
  ++count_;
  pending->blocks = pending->time_to_block(now);
}

void SharedQuestion::ask() {
  if (count_ == 0) return;
  const std::chrono::milliseconds asked = time();
  const auto end = pipeline_.in_flight.end();
  for (auto pending = std::prev(end, static_cast<std::ptrdiff_t>(count_)); pending != end;
       ++pending) {
    pending->cut_short = asked < pending->blocks;
    pending->blocks = asked;
  }
  PendingRequest& last = pipeline_.in_flight.back();
  pipeline_.append_question(last, last.last_command().with_last(asked));
  count_ = 0;
}

/// The longest that one of them has, as far as the others can wait for that.
std::chrono::milliseconds SharedQuestion::time() const {
  const auto end = pipeline_.in_flight.end();
  const auto [shortest, max_pause] = std::minmax_element(
      std::prev(end, static_cast<std::ptrdiff_t>(count_)), end,
      [](const PendingRequest& a, const PendingRequest& b) { return a.blocks < b.blocks; });
  return std::min(max_pause->blocks, shortest->blocks + slack_);
}

}  // namespace redlatch::detail
