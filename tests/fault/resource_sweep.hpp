#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "resource_faults.hpp"

namespace redlatch::test {

/// One operation that meets a fault. Made anew for each fault.
class Journey {
 public:
  Journey() = default;
  Journey(const Journey&) = delete;
  Journey& operator=(const Journey&) = delete;
  virtual ~Journey() = default;

  /// What meets the fault. May throw what a program has to expect: `Error` or `std::bad_alloc`.
  virtual void act() = 0;
  /// When the fault is over: whether nothing is left held.
  virtual bool leaves_nothing() = 0;
  /// Throws, or says false, when the same objects are of no use any more.
  virtual bool works_again() = 0;
};

/// Makes a journey, with the name that tests show.
struct JourneyKind {
  std::string name;
  std::function<std::unique_ptr<Journey>()> make;
};

/// Whether an operation may end in an error, which then names the fault, or must not.
enum class Expected { error_or_success, success };

/// Lets the k-th call fail, for k = 1, 2, 3... until none has failed. A journey that leaves
/// anything held, takes too long, throws what it must not, leaks a descriptor or a thread, or does
/// not work again fails the test. `max_step`: of k, which grows faster behind the first calls; 1
/// where $REDLATCH_EVERY_CALL is set. How many faults have landed.
int sweep(const JourneyKind& kind, const std::vector<Fault>& faults, Expected expected,
          int max_step = 1);

}  // namespace redlatch::test
