#include "claims.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

namespace redlatch::test {
namespace {

bool may_overlap(const Claim& one, const Claim& other) {
  using Kind = Claim::Kind;
  if (one.kind != other.kind) return false;
  switch (one.kind) {
    case Kind::shared:
      return true;
    case Kind::recursive:
      return one.process == other.process && one.thread == other.thread;
    case Kind::permit:  // counted apart
      return true;
    case Kind::exclusive:
      return false;
  }
  return false;
}

bool forgot_within(const Claim& claim, const std::vector<std::chrono::nanoseconds>& forgot) {
  return std::ranges::any_of(
      forgot, [&](const auto& at) { return claim.granted <= at && at <= claim.until; });
}

/// Whether both are held together only while one of them is lost.
bool is_lost(const Claim& earlier, const Claim& later) {
  const auto end = std::min(earlier.until, later.until);
  return std::ranges::any_of(std::array{&earlier, &later}, [&](const Claim* one) {
    const auto covers = [&](std::chrono::nanoseconds time) {
      return std::ranges::any_of(
          one->lost, [&](const auto& span) { return span.first <= time && time <= span.second; });
    };
    return covers(later.from) && covers(end);
  });
}

using Times = std::vector<std::chrono::nanoseconds>;

/// `some`: of one key, in the order of their beginnings.
void look_at_overlaps(const std::vector<const Claim*>& some, const Times& forgot, Findings& found) {
  for (std::size_t i = 0; i < some.size(); ++i) {
    const Claim& one = *some[i];
    std::int64_t together = 1;
    for (std::size_t other = 0; other < i; ++other) {
      const Claim& earlier = *some[other];
      if (earlier.until < one.from || forgot_within(earlier, forgot)) continue;
      if (is_lost(earlier, one)) {
        found.lost += may_overlap(earlier, one) ? 0 : 1;
        continue;
      }
      ++together;
      if (!may_overlap(earlier, one)) {
        found.violations.push_back(written(one) + ": while held by " + written(earlier));
      }
    }
    if (one.kind == Claim::Kind::permit && together > one.limit) {
      found.violations.push_back(written(one) + ": more permits than " + std::to_string(one.limit));
    }
  }
}

void look_at_fences(const std::vector<const Claim*>& some, const Times& forgot, Findings& found) {
  std::uint64_t fence = 0;
  std::chrono::nanoseconds fenced_at{};
  for (const Claim* const one : some) {
    if (one->fence == 0 || !one->lost.empty()) continue;
    const bool is_anew = std::ranges::any_of(
        forgot, [&](const auto& at) { return fenced_at <= at && at <= one->from; });
    if (one->fence <= fence && !is_anew) {
      found.violations.push_back(written(*one) + ": after fencing token " + std::to_string(fence));
    }
    fence = one->fence;
    fenced_at = one->from;
  }
}

}  // namespace

std::string written(const Claim& claim) {
  using Seconds = std::chrono::duration<double>;
  std::ostringstream text;
  text << claim.name << " of";
  for (const std::string& key : claim.keys) text << ' ' << key;
  text << " in process " << claim.process << ", thread " << claim.thread << std::fixed << " from "
       << Seconds(claim.from).count() << " to " << Seconds(claim.until).count() << " s";
  if (claim.fence > 0) text << ", fencing token " << claim.fence;
  return text.str();
}

Findings findings_in(const std::vector<Claim>& claims,
                     const std::vector<std::chrono::nanoseconds>& forgot) {
  Findings found;
  std::map<std::string, std::vector<const Claim*>> by_key;
  for (const Claim& one : claims) {
    for (const std::string& key : one.keys) by_key[key].push_back(&one);
  }
  for (auto& [key, some] : by_key) {
    std::ranges::stable_sort(some, {}, &Claim::from);
    look_at_overlaps(some, forgot, found);
    look_at_fences(some, forgot, found);
  }
  return found;
}

}  // namespace redlatch::test
