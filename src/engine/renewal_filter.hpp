#pragma once

#include "engine/pending_renewal.hpp"

namespace redlatch::detail {

/// Whether queued renewals are still to be sent. The multiplexer asks at the last moment, when it
/// writes a renewal or its retry, and not when the renewal is queued: a lock may be released in
/// between, and nothing about its lease may be sent behind the release.
class RenewalFilter {
 public:
  RenewalFilter() = default;
  RenewalFilter(const RenewalFilter&) = delete;
  RenewalFilter& operator=(const RenewalFilter&) = delete;

  /// False when the lock was released meanwhile; the renewal has ended then.
  virtual bool wants(const PendingRenewal& renewal) noexcept = 0;

 protected:
  ~RenewalFilter() = default;
};

}  // namespace redlatch::detail
