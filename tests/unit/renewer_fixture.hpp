#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <redlatch/protocol/exclusive.hpp>

#include "background/renewer.hpp"
#include "replies.hpp"

namespace redlatch::test {

using namespace std::chrono_literals;
using detail::Renewal;
using detail::Renewer;
using detail::Tenure;
using detail::TimePoint;

inline constexpr std::uint64_t here = 7;
inline constexpr TimePoint start{1000s};

/// Leases that are looked after, all of them taken at `start`.
class RenewerTest : public testing::Test {
 protected:
  Tenure& opened(std::chrono::milliseconds ttl = 9s, bool renews = true,
                 TimePoint until = TimePoint::max()) {
    Tenure& tenure = renewer.open();
    tenure.begin(detail::Lease("token", here), "job");
    tenure.renew_by(exclusive.extend("token", ttl),
                    {.ttl = ttl, .renews = renews, .since = start, .renew_until = until});
    tenure.confirm({start}, ttl);
    return tenure;
  }
  Tenure& held(std::chrono::milliseconds ttl = 9s, bool renews = true,
               TimePoint until = TimePoint::max()) {
    Tenure& tenure = opened(ttl, renews, until);
    renewer.keep(tenure);
    return tenure;
  }
  /// How many are due; they are sent.
  std::size_t picked(TimePoint now) {
    const std::size_t count = renewer.pick(now).size();
    renewer.picked_up();
    return count;
  }
  /// True when there is a loss to tell.
  bool answered(Tenure& tenure, const protocol::Reply& reply, TimePoint sent) {
    return outcome(tenure, reply, sent) == Renewer::Answered::lost;
  }
  Renewer::Answered outcome(Tenure& tenure, const protocol::Reply& reply, TimePoint sent) {
    Renewal renewal;
    renewal.begin(tenure);
    return renewer.answered(renewal, reply, sent, sent + 1ms);
  }
  void failed(Tenure& tenure, TimePoint sent) {
    renewer.failed(tenure, tenure.upkeep().ttl, {sent}, sent + 1ms);
  }

  Renewer renewer{0};
  const protocol::Exclusive exclusive{"job"};
};

}  // namespace redlatch::test
