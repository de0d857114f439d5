#include "engine/shared_question.hpp"

#include <algorithm>
#include <iterator>

namespace redlatch::detail {

namespace {

/// The same but for the time, which comes last.
bool are_alike(const protocol::Command& one, const protocol::Command& other) {
  const auto texts = [](const protocol::Argument& argument) { return argument.text(); };
  const auto all = one.arguments();
  const auto others = other.arguments();
  return std::ranges::equal(all.first(all.size() - 1), others.first(others.size() - 1), {}, texts,
                            texts);
}

}  // namespace

bool SharedQuestion::takes(const Exchange& one) const {
  if (count_ == 0) return true;
  return are_alike(pipeline_.unanswered.back().last_command(), one.last_command());
}

void SharedQuestion::add(Exchanges& from, Exchanges::iterator one, TimePoint now) {
  pipeline_.append_change(from, one, now);
  ++count_;
  one->blocks = one->time_to_block(now);
}

void SharedQuestion::ask() {
  if (count_ == 0) return;
  const std::chrono::milliseconds asked = time();
  const auto end = pipeline_.unanswered.end();
  for (auto one = std::prev(end, static_cast<std::ptrdiff_t>(count_)); one != end; ++one) {
    one->cut_short = asked < one->blocks;
    one->blocks = asked;
  }
  Exchange& last = pipeline_.unanswered.back();
  pipeline_.append_question(last, last.last_command().with_last(asked));
  count_ = 0;
}

/// The longest that one of them has, as far as the others can wait for that.
std::chrono::milliseconds SharedQuestion::time() const {
  const auto end = pipeline_.unanswered.end();
  const auto [shortest, longest] =
      std::minmax_element(std::prev(end, static_cast<std::ptrdiff_t>(count_)), end,
                          [](const Exchange& a, const Exchange& b) { return a.blocks < b.blocks; });
  return std::min(longest->blocks, shortest->blocks + slack_);
}

}  // namespace redlatch::detail
