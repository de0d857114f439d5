#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include <redlatch/basic_lock.hpp>
#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/lock_core.hpp>
#include <redlatch/detail/wait.hpp>

namespace redlatch {

BasicLock::~BasicLock() {
  core_->release_if_held();
  std::destroy_at(core_);
}

// The core of the other stays, so that it can still be asked.
BasicLock::BasicLock(BasicLock&& other) noexcept : core_(&other.core_->move_to(&room_)) {}

BasicLock& BasicLock::operator=(BasicLock&& other) noexcept {
  if (this == &other) return *this;
  core_->release_if_held();
  std::destroy_at(core_);
  core_ = &other.core_->move_to(&room_);
  return *this;
}

// A wait without bound returns only with the lock, or throws.
void BasicLock::lock() { static_cast<void>(core_->acquire(std::nullopt, {})); }

bool BasicLock::lock(std::stop_token stop) { return core_->acquire(std::nullopt, std::move(stop)); }

bool BasicLock::try_lock() { return core_->acquire(core_->now(), {}); }

bool BasicLock::try_lock_within(Seconds wait, std::stop_token stop) {
  return core_->acquire(detail::end_of(wait, core_->now()), std::move(stop));
}

Unlock BasicLock::unlock() noexcept { return core_->unlock(); }

bool BasicLock::owns_lock() const noexcept { return core_->owns_lock(); }

std::chrono::steady_clock::time_point BasicLock::expires_at() const noexcept {
  // Read first, so that what passes between the two readings is not counted as validity.
  const auto steady_now = std::chrono::steady_clock::now();
  const auto remaining = core_->remaining();
  return remaining > detail::TimePoint::duration::zero() ? steady_now + remaining
                                                         : std::chrono::steady_clock::time_point();
}

// Rounded down, so that the last millisecond is not promised when a part of it is left.
std::chrono::milliseconds BasicLock::remaining() const noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(core_->remaining());
}

bool BasicLock::extend() { return core_->extend(std::nullopt); }

bool BasicLock::extend(std::chrono::milliseconds ttl) { return core_->extend(ttl); }

bool BasicLock::verify() { return core_->verify(); }

const std::string& BasicLock::key() const noexcept { return core_->key(); }

const std::string& BasicLock::token() const noexcept { return core_->token(); }

std::stop_token BasicLock::lost_token() const noexcept {
  // A stop state takes memory. A token without one never stops, as the documentation says.
  try {
    return core_->lost_token();
  } catch (const std::bad_alloc&) {
    return std::stop_token();
  }
}

std::stop_token BasicLock::lost_token(std::stop_token other) {
  return core_->lost_token(std::move(other));
}

std::uint64_t BasicLock::fencing_token() const { return core_->fencing_token(); }

}  // namespace redlatch
