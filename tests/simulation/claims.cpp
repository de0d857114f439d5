#include "claims.hpp"

#include <algorithm>
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

std::vector<std::string> violations_in(const std::vector<Claim>& claims,
                                       const std::vector<std::chrono::nanoseconds>& forgot) {
  std::vector<std::string> violations;
  std::map<std::string, std::vector<const Claim*>> by_key;
  for (const Claim& one : claims) {
    for (const std::string& key : one.keys) by_key[key].push_back(&one);
  }
  for (auto& [key, some] : by_key) {
    std::ranges::stable_sort(some, {}, &Claim::from);
    std::uint64_t fence = 0;
    std::chrono::nanoseconds fenced_at{};
    for (std::size_t i = 0; i < some.size(); ++i) {
      const Claim& one = *some[i];
      std::int64_t together = 1;
      for (std::size_t other = 0; other < i; ++other) {
        const Claim& earlier = *some[other];
        if (earlier.until < one.from || forgot_within(earlier, forgot)) continue;
        ++together;
        if (!may_overlap(earlier, one)) {
          violations.push_back(written(one) + ": while held by " + written(earlier));
        }
      }
      if (one.kind == Claim::Kind::permit && together > one.limit) {
        violations.push_back(written(one) + ": more permits than " + std::to_string(one.limit));
      }
      if (one.fence == 0) continue;
      const bool is_anew = std::ranges::any_of(
          forgot, [&](const auto& at) { return fenced_at <= at && at <= one.from; });
      if (one.fence <= fence && !is_anew) {
        violations.push_back(written(one) + ": after fencing token " + std::to_string(fence));
      }
      fence = one.fence;
      fenced_at = one.from;
    }
  }
  return violations;
}

}  // namespace redlatch::test
