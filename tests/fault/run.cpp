#include "run.hpp"

#include <algorithm>
#include <iomanip>
#include <map>
#include <span>
#include <sstream>
#include <string_view>
#include <utility>

namespace redlatch::test {
namespace {

std::string_view word(const Attempt& one) {
  switch (one.outcome) {
    case Outcome::waiting:
      return "waits";
    case Outcome::missed:
      return "missed";
    case Outcome::failed:
      return "failed";
    case Outcome::held:
      break;
  }
  switch (one.end) {
    case End::still_held:
      return "held to the end";
    case End::released:
      return "released";
    case End::unknown:
      return "release unknown";
    case End::left:
      return "left";
    case End::lost:
      return "lost";
    case End::lost_unseen:
      return "lost, says unlock";
    case End::ran_out:
      return "ran out";
  }
  return "?";
}

}  // namespace

RunView::RunView(const Run& run) : run_(run) {
  for (const Attempt& one : run.attempts) {
    if (one.asked == Moment()) continue;
    attempts_.push_back(&one);
    start_ = std::min(start_, one.asked);
  }
}

bool RunView::uses(const Attempt& one, std::size_t resource) const {
  const Role& role = role_of(one);
  return role.resource <= resource && resource < role.resource + role.resources;
}

std::optional<Moment> RunView::killed(const Attempt& one) const {
  const auto found = std::ranges::find_if(
      run_.incidents, [&](const Incident& incident) { return incident.killed == one.worker; });
  return found == run_.incidents.end() ? std::nullopt : std::optional(found->lossy_until);
}

std::optional<Moment> RunView::may_stay(const Attempt& one) const {
  const bool is_open =
      one.outcome == Outcome::waiting || (was_held(one) && one.end == End::still_held);
  const bool is_released = was_held(one) && one.end == End::released;
  const Moment end = ended(one);
  if (const std::optional<Moment> dead = killed(one)) {
    if (is_open || (!is_released && end >= *dead - doubt)) return *dead + one.ttl;
  }
  if (is_open || one.outcome == Outcome::missed) return std::nullopt;
  const bool is_lost = std::ranges::any_of(run_.incidents, [&](const Incident& incident) {
    return is_replacement(incident.fault) && end >= incident.began - lag &&
           end <= incident.lossy_until + lag;
  });
  return is_lost ? std::optional(end + one.ttl) : std::nullopt;
}

double RunView::seconds(Moment at) const {
  return std::chrono::duration<double>(at - start_).count();
}

std::string RunView::describe(const Attempt& one) const {
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << role_of(one).name << " of worker " << one.worker
       << " (asked " << seconds(one.asked);
  if (was_held(one)) {
    text << ", held " << seconds(one.answered) << " to " << seconds(one.claimed_until) << ", lease "
         << std::hex << (one.lease & 0xffff) << std::dec;
    if (one.fence != 0) text << ", fencing token " << one.fence;
    for (const Confirmation& each : one.all_confirmations()) {
      text << ", at " << seconds(each.seen) << " until " << seconds(each.until);
    }
  }
  text << ')';
  return std::move(text).str();
}

std::string RunView::at_moment(Moment at, const Attempt& one) const {
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << seconds(at) << " s, " << describe(one) << ": ";
  return std::move(text).str();
}

Moment RunView::end_of(const Attempt& one) const {
  if (one.outcome == Outcome::waiting || (was_held(one) && one.end == End::still_held)) {
    return killed(one).value_or(run_.end);
  }
  return std::max({one.answered, one.claimed_until, one.over});
}

std::string RunView::window(std::size_t resource, Moment from, Moment to) const {
  std::vector<std::pair<Moment, std::string>> lines;
  const auto time = [&](Moment at) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(3) << seconds(at);
    return std::move(text).str();
  };
  for (const Incident& one : run_.incidents) {
    if (one.began > to || one.served < from) continue;
    std::string text = "! " + std::string(to_string(one.fault)) + " from " + time(one.began);
    text += ", its effect until " + time(one.lossy_until) + ", served " + time(one.served);
    if (one.killed) text += ", worker " + std::to_string(*one.killed);
    lines.emplace_back(one.began, std::move(text));
  }
  std::map<std::string, std::pair<Moment, std::size_t>>
      failed;  // when for the first time, how often
  for (const Attempt* one : attempts_) {
    if (!uses(*one, resource) || one->asked > to || end_of(*one) < from) continue;
    if (one->outcome == Outcome::failed) {
      const std::string text = role_of(*one).name + std::string(" of worker ") +
                               std::to_string(one->worker) + " failed: " + one->error.data();
      ++failed.try_emplace(text, one->asked, 0).first->second.second;
      continue;
    }
    lines.emplace_back(one->asked, describe(*one) + ", " + std::string(word(*one)) + " at " +
                                       time(end_of(*one)) + ", ttl " +
                                       std::to_string(one->ttl.count()) + " ms");
  }
  for (const auto& [text, when] : failed) {
    const auto& [asked, count] = when;
    lines.emplace_back(asked, std::to_string(count) + " x from " + time(asked) + " on: " + text);
  }
  std::ranges::stable_sort(lines, {}, [](const auto& line) { return line.first; });
  constexpr std::size_t most = 60;
  const std::size_t left_out = lines.size() - std::min(most, lines.size());
  std::string text;
  if (left_out > 0) text = "    (" + std::to_string(left_out) + " lines before)\n";
  for (const auto& line : std::span(lines).subspan(left_out)) text += "    " + line.second + '\n';
  return text;
}

}  // namespace redlatch::test
