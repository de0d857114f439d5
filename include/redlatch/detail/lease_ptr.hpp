#pragma once

#include <string_view>
#include <utility>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease.hpp>

namespace redlatch::detail {

/// Owns a lease, and returns it to its executor, which has to outlive it.
class LeasePtr {
 public:
  LeasePtr() = default;
  LeasePtr(Executor& executor, std::string_view key)
      : executor_(&executor), lease_(&executor.open_lease(key)) {}
  LeasePtr(LeasePtr&& other) noexcept
      : executor_(other.executor_), lease_(std::exchange(other.lease_, nullptr)) {}
  LeasePtr& operator=(LeasePtr&& other) noexcept {
    reset();
    executor_ = other.executor_;
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
    if (lease_ != nullptr) executor_->close_lease(*std::exchange(lease_, nullptr));
  }

 private:
  Executor* executor_ = nullptr;
  Lease* lease_ = nullptr;
};

}  // namespace redlatch::detail
