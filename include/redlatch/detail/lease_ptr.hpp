#pragma once

#include <string_view>
#include <utility>

#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/lease_keeper.hpp>

namespace redlatch::detail {

/// Owns a lease, and returns it to its keeper, which has to outlive it.
class LeasePtr {
 public:
  LeasePtr() = default;
  LeasePtr(LeaseKeeper& keeper, std::string_view key)
      : keeper_(&keeper), lease_(&keeper.open_lease(key)) {}
  LeasePtr(LeasePtr&& other) noexcept
      : keeper_(other.keeper_), lease_(std::exchange(other.lease_, nullptr)) {}
  LeasePtr& operator=(LeasePtr&& other) noexcept {
    reset();
    keeper_ = other.keeper_;
    lease_ = std::exchange(other.lease_, nullptr);
    return *this;
  }
  LeasePtr(const LeasePtr&) = delete;
  LeasePtr& operator=(const LeasePtr&) = delete;
  ~LeasePtr() { reset(); }

  explicit operator bool() const noexcept { return lease_ != nullptr; }
  Lease& operator*() const noexcept { return *lease_; }
  Lease* operator->() const noexcept { return lease_; }
  Lease* get() const noexcept { return lease_; }
  void reset() noexcept {
    if (lease_ != nullptr) keeper_->close_lease(*std::exchange(lease_, nullptr));
  }

 private:
  LeaseKeeper* keeper_ = nullptr;
  Lease* lease_ = nullptr;
};

}  // namespace redlatch::detail
