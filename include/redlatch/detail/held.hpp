#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/detail/answers.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/tenure.hpp>
#include <redlatch/detail/tenure_of.hpp>

namespace redlatch::detail {

template <class Protocol>
class Holding;

/// One lease at a time, or none, and whom to ask about it.
template <class Protocol>
class Held {
 public:
  Held(std::shared_ptr<Executor> executor, Protocol protocol)
      : executor_(std::move(executor)), protocol_(std::move(protocol)) {}

  /// The other keeps its executor, so that it can still be asked, and holds nothing.
  Held(Held&& other) noexcept
      // NOLINTNEXTLINE(performance-move-constructor-init): so it is meant
      : executor_(other.executor_),
        protocol_(std::move(other.protocol_)),
        tenure_(std::move(other.tenure_)) {}
  Held& operator=(Held&& other) noexcept {
    tenure_ = std::move(other.tenure_);  // gives one back to the old executor
    executor_ = other.executor_;
    protocol_ = std::move(other.protocol_);
    return *this;
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() = default;

  Executor& executor() const noexcept { return *executor_; }
  const std::shared_ptr<Executor>& shared_executor() const noexcept { return executor_; }
  const Protocol& protocol() const noexcept { return protocol_; }

  /// Whether there is something to release, valid or not.
  bool exists() const noexcept { return tenure_ && tenure_->exists(executor_->process()); }
  bool valid(TimePoint now) const noexcept {
    return tenure_ && tenure_->valid(now, executor_->process());
  }
  /// For how long it is valid yet; zero when it is not.
  TimePoint::duration remaining(TimePoint now) const noexcept {
    const TimePoint end = exists() ? tenure_->valid_until() : TimePoint{};
    return std::max(end - now, TimePoint::duration::zero());
  }
  /// These three are for leases that exist.
  const std::string& token() const noexcept { return tenure_->token(); }
  const std::string& value() const noexcept { return tenure_->value(); }
  std::uint64_t fencing_token() const noexcept { return tenure_->fencing_token(); }
  std::stop_token lost_token() const {
    return exists() ? executor_->lost_token(*tenure_) : std::stop_token();
  }

  Answers ask(std::span<const protocol::Command> commands, const Undo* undo = nullptr,
              Connecting connecting = Connecting::on_top) const {
    return Answers(*executor_, {.key = protocol_.key(), .commands = commands, .undo = undo},
                   connecting);
  }

 private:
  friend Holding<Protocol>;

  Lease end() noexcept {
    Lease lease = tenure_->end();
    tenure_.reset();
    return lease;
  }

  std::shared_ptr<Executor> executor_;
  Protocol protocol_;
  TenureOf tenure_{};
};

}  // namespace redlatch::detail
