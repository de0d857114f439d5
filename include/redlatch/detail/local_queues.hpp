#pragma once

#include <memory>
#include <string_view>

#include <redlatch/options.hpp>

namespace redlatch::detail {

class LeasePtr;
class Waiter;

/// How the waiters of one client for one key queue. `with_others`: behind each other, and only the
/// first talks to the server. `alone`: each by itself, so that each has its own entry in the
/// server's queue, in the order of arrival.
enum class QueueMode { with_others, alone };

/// The queues of waiting threads in this process. A quorum has none: its waiters wait each by
/// itself, and no lease is handed over, which is what the members do that are not overridden. Any
/// thread may call any member.
class LocalQueues {
 public:
  LocalQueues(const LocalQueues&) = delete;
  LocalQueues& operator=(const LocalQueues&) = delete;

  /// A waiter for the key, behind those of this process or by itself. `key` and `wanted` have to
  /// outlive it.
  virtual std::unique_ptr<Waiter> enter_queue(std::string_view key, const LockOptions& wanted,
                                              QueueMode where) = 0;
  /// Whether this process has waiters for the key, and the server answers them.
  virtual bool is_waited_for(std::string_view /*key*/) const noexcept { return false; }
  /// Whether the key is seldom free, so that entering the queue costs less than an attempt first.
  virtual bool is_contended(std::string_view /*key*/) const noexcept { return false; }
  /// Hands a lease over to the first waiter; `lease` is empty then. False if that is not possible.
  virtual bool hand_over(std::string_view /*key*/, LeasePtr& /*lease*/,
                         const LockOptions& /*given*/) noexcept {
    return false;
  }
  /// The key was released at the server: the first waiter may ask for it.
  virtual void wake_first(std::string_view /*key*/) noexcept {}

 protected:
  LocalQueues() = default;
  ~LocalQueues() = default;
};

}  // namespace redlatch::detail
