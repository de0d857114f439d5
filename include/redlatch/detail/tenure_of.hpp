#pragma once

#include <string_view>
#include <utility>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/tenure.hpp>

namespace redlatch::detail {

/// A tenure that goes back to its executor, which has to live longer.
class TenureOf {
 public:
  TenureOf() = default;
  TenureOf(Executor& executor, std::string_view key)
      : executor_(&executor), tenure_(&executor.open_tenure(key)) {}
  TenureOf(TenureOf&& other) noexcept
      : executor_(other.executor_), tenure_(std::exchange(other.tenure_, nullptr)) {}
  TenureOf& operator=(TenureOf&& other) noexcept {
    reset();
    executor_ = other.executor_;
    tenure_ = std::exchange(other.tenure_, nullptr);
    return *this;
  }
  TenureOf(const TenureOf&) = delete;
  TenureOf& operator=(const TenureOf&) = delete;
  ~TenureOf() { reset(); }

  explicit operator bool() const noexcept { return tenure_ != nullptr; }
  Tenure& operator*() const noexcept { return *tenure_; }
  Tenure* operator->() const noexcept { return tenure_; }
  Tenure* get() const noexcept { return tenure_; }
  void reset() noexcept {
    if (tenure_ != nullptr) executor_->close_tenure(*std::exchange(tenure_, nullptr));
  }

 private:
  Executor* executor_ = nullptr;
  Tenure* tenure_ = nullptr;
};

}  // namespace redlatch::detail
