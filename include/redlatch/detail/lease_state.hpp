#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/lease_ptr.hpp>
#include <redlatch/detail/quorum_reply.hpp>
#include <redlatch/detail/validity.hpp>

namespace redlatch::detail {

template <class Protocol>
class LeaseOperations;

/// One lease at a time, or none, and whom to ask about it.
template <class Protocol>
class LeaseState {
 public:
  LeaseState(std::shared_ptr<Executor> executor, Protocol protocol)
      : executor_(std::move(executor)), protocol_(std::move(protocol)) {}

  /// The other keeps its executor, so that it can still be asked, and holds nothing.
  LeaseState(LeaseState&& other) noexcept
      // NOLINTNEXTLINE(performance-move-constructor-init): so it is meant
      : executor_(other.executor_),
        protocol_(std::move(other.protocol_)),
        lease_(std::move(other.lease_)) {}
  LeaseState& operator=(LeaseState&& other) noexcept {
    lease_ = std::move(other.lease_);  // gives one back to the old executor
    executor_ = other.executor_;
    protocol_ = std::move(other.protocol_);
    return *this;
  }
  LeaseState(const LeaseState&) = delete;
  LeaseState& operator=(const LeaseState&) = delete;
  ~LeaseState() = default;

  Executor& executor() const noexcept { return *executor_; }
  const std::shared_ptr<Executor>& shared_executor() const noexcept { return executor_; }
  const Protocol& protocol() const noexcept { return protocol_; }

  /// Whether there is something to release, valid or not.
  bool exists() const noexcept { return lease_ && lease_->exists(executor_->process()); }
  bool valid(TimePoint now) const noexcept {
    return lease_ && lease_->valid(now, executor_->process());
  }
  /// For how long it is valid yet; zero when it is not.
  TimePoint::duration remaining(TimePoint now) const noexcept {
    const TimePoint end = exists() ? lease_->valid_until() : TimePoint{};
    return std::max(end - now, TimePoint::duration::zero());
  }
  /// These three are for leases that exist.
  const std::string& token() const noexcept { return lease_->token(); }
  const std::string& value() const noexcept { return lease_->value(); }
  std::uint64_t fencing_token() const noexcept { return lease_->fencing_token(); }
  std::stop_token lost_token() const {
    return exists() ? executor_->lost_token(*lease_) : std::stop_token();
  }

  QuorumReply ask(std::span<const protocol::Command> commands,
                  const CleanupRelease* cleanup = nullptr,
                  ConnectPolicy policy = ConnectPolicy::separate_timeout) const {
    return QuorumReply(*executor_,
                       {.key = protocol_.key(), .commands = commands, .cleanup = cleanup}, policy);
  }

 private:
  friend LeaseOperations<Protocol>;

  Validity end() noexcept {
    Validity validity = lease_->end();
    lease_.reset();
    return validity;
  }

  std::shared_ptr<Executor> executor_;
  Protocol protocol_;
  LeasePtr lease_{};
};

}  // namespace redlatch::detail
