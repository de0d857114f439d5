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
using detail::Lease;
using detail::PendingRenewal;
using detail::Renewer;
using detail::TimePoint;

inline constexpr std::uint64_t here = 7;
inline constexpr TimePoint start{1000s};

/// Leases that are looked after, all of them taken at `start`.
class RenewerLeases : public testing::Test {
 protected:
  Lease& opened(std::chrono::milliseconds ttl = 9s, bool renews = true,
                TimePoint until = TimePoint::max()) {
    Lease& lease = renewer.open();
    lease.begin(detail::Validity("token", here), "job");
    lease.renew_by(exclusive.extend("token", ttl),
                   {.ttl = ttl, .renews = renews, .since = start, .renew_until = until});
    lease.confirm({start}, ttl);
    return lease;
  }
  Lease& held(std::chrono::milliseconds ttl = 9s, bool renews = true,
              TimePoint until = TimePoint::max()) {
    Lease& lease = opened(ttl, renews, until);
    renewer.keep(lease);
    return lease;
  }
  /// How many are due; they are sent.
  std::size_t picked(TimePoint now) {
    const std::size_t count = renewer.pick(now).size();
    renewer.picked_up();
    return count;
  }
  /// True when there is a loss to tell.
  bool answered(Lease& lease, const protocol::Reply& reply, TimePoint sent) {
    return outcome(lease, reply, sent) == Renewer::Answered::lost;
  }
  Renewer::Answered outcome(Lease& lease, const protocol::Reply& reply, TimePoint sent) {
    PendingRenewal renewal;
    renewal.begin(lease);
    return renewer.answered(renewal, reply, sent, sent + 1ms);
  }
  void failed(Lease& lease, TimePoint sent, const detail::Failure& why = {}) {
    renewer.failed(lease, lease.schedule().ttl, {sent}, sent + 1ms, why);
  }

  Renewer renewer{0};
  const protocol::Exclusive exclusive{"job"};
};

}  // namespace redlatch::test
