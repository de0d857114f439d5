#include "net/node_reports.hpp"

#include <algorithm>

namespace redlatch::detail {

void NodeReports::follow_view() {
  const std::vector<Address> all = view_.nodes();
  std::erase_if(reports_,
                [&](const Report& one) { return std::ranges::find(all, one.node) == all.end(); });
  for (const Address& node : all) {
    if (find(node) == nullptr) reports_.push_back({.node = node});
  }
}

std::vector<Address> NodeReports::in_order(std::minstd_rand& random) const {
  std::vector<const Report*> order;
  for (const Report& one : reports_) order.push_back(&one);
  std::ranges::shuffle(order, random);
  std::ranges::stable_sort(
      order, {}, [](const Report* one) { return one->is_awaited ? UINT64_MAX : one->failed; });
  std::vector<Address> nodes;
  nodes.reserve(order.size());
  for (const Report* one : order) nodes.push_back(one->node);
  return nodes;
}

void NodeReports::note_asked(const Address& node, TimePoint now) {
  Report* const report = find(node);
  if (report == nullptr) return;
  report->is_awaited = true;
  report->asked = now;
}

void NodeReports::note_answer(const Address& node, const ClusterAnswer& answer, TimePoint begun,
                              TimePoint now) {
  Report* const report = find(node);
  if (report == nullptr) return;
  report->is_awaited = false;
  report->failed = 0;
  report->answered_since = begun;
  report->vouched.clear();
  report->has_no_replica = false;
  for (const ClusterAnswer::Range& range : answer.ranges) {
    if (range.primary == node && !range.may_be_replaced) report->has_no_replica = true;
    const auto seat = view_.find(range.primary);
    const bool is_new = seat && std::ranges::find(report->vouched, *seat) == report->vouched.end();
    if (is_new && !range.has_failed) report->vouched.push_back(*seat);
  }
  if (answer.refuses_node_timeout) report->ask_timeout_at = TimePoint::max();
  if (!answer.node_timeout) return;
  report->node_timeout = answer.node_timeout;
  report->ask_timeout_at = now + node_timeout_period;
}

void NodeReports::note_failure(const Address& node) {
  Report* const report = find(node);
  if (report == nullptr) return;
  report->is_awaited = false;
  if (report->failed == 0) report->failed = ++failures_;
}

void NodeReports::forget_question(const Address& node) noexcept {
  if (Report* const report = find(node); report != nullptr) report->is_awaited = false;
}

void NodeReports::forget_failures(TimePoint since, TimePoint until) noexcept {
  for (Report& one : reports_) {
    if (one.asked >= since && one.asked < until) one.failed = 0;
  }
}

void NodeReports::forget_questions() noexcept {
  for (Report& one : reports_) one.is_awaited = false;
}

bool NodeReports::wants_node_timeout(const Address& node, TimePoint now) const {
  const Report* const report = find(node);
  return report != nullptr && now >= report->ask_timeout_at;
}

/// What a node has told before counts while it does not answer, too.
std::optional<std::chrono::milliseconds> NodeReports::node_timeout() const {
  std::optional<std::chrono::milliseconds> shortest;
  for (const Report& one : reports_) {
    if (!one.node_timeout) continue;
    shortest = std::min(shortest.value_or(*one.node_timeout), *one.node_timeout);
  }
  return shortest;
}

NodeReports::Verdict NodeReports::verdict(std::size_t seat, TimePoint since) const {
  if (view_.is_empty(seat)) return Verdict::settled;
  std::size_t others = 0;
  std::size_t vouched = 0;
  std::size_t answered = 0;
  std::size_t not_awaited = 0;  // those that have failed or hang
  for (const Address& node : view_.learned()) {
    if (node == view_.address(seat)) continue;
    ++others;
    const Report* const one = find(node);
    if (one == nullptr) continue;
    if (one->answered_since >= since) {
      ++answered;
      if (std::ranges::find(one->vouched, seat) != one->vouched.end()) ++vouched;
    } else if (one->failed != 0 || (one->is_awaited && since - one->asked >= max_wait)) {
      ++not_awaited;
    }
  }
  const bool tells_itself = std::ranges::any_of(
      reports_, [&](const Report& one) { return one.answered_since >= since + max_ignorance; });
  const bool is_well = vouched == answered && (vouched > 0 || tells_itself);
  const bool are_enough =
      others == 0 ? has_no_replica(seat, since) : vouched >= std::min(others, enough_others);
  if (are_enough || (is_well && vouched + not_awaited == others)) return Verdict::settled;
  if (is_well) return Verdict::well;
  return answered > 0 ? Verdict::failed : Verdict::unknown;
}

/// By its own answer to a question since that time.
bool NodeReports::has_no_replica(std::size_t seat, TimePoint since) const noexcept {
  const Report* const own = find(view_.address(seat));
  return own != nullptr && own->answered_since >= since && own->has_no_replica;
}

NodeReports::Report* NodeReports::find(const Address& node) noexcept {
  const auto found = std::ranges::find(reports_, node, &Report::node);
  return found == reports_.end() ? nullptr : &*found;
}

const NodeReports::Report* NodeReports::find(const Address& node) const noexcept {
  const auto found = std::ranges::find(reports_, node, &Report::node);
  return found == reports_.end() ? nullptr : &*found;
}

}  // namespace redlatch::detail
