#pragma once

#include <string_view>

namespace redlatch::detail {

/// An object that is called around fork(2). Before it, the object locks its mutexes, so that the
/// child gets its data in a consistent state; afterwards the parent unlocks them, and the child
/// drops the threads and connections, which are the parent's, and unlocks them as well.
///
/// All clients and quorums of a process are among these objects, so they can be asked through this
/// for a lease that one of them has.
class ForkAware {
 public:
  ForkAware() = default;
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

  virtual void before_fork() = 0;
  virtual void after_fork_in_parent() = 0;
  virtual void after_fork_in_child() noexcept = 0;

  /// Whether a lock has a valid lease of the key here whose value begins with this owner tag. False
  /// for an object that has no leases.
  virtual bool is_held(std::string_view key, std::string_view owner_tag) noexcept {
    static_cast<void>(key);
    static_cast<void>(owner_tag);
    return false;
  }

 protected:
  ~ForkAware() = default;
};

class ForkRegistry;

/// Whether an object is called before a fork in the order of registration, or behind all of those:
/// its mutexes are taken under theirs. After the fork it is the other way round.
enum class ForkOrder { usual, last };

/// Has an object called around forks until the registration ends. The last member of the object's
/// class, so that the object is whole while it is registered.
class ForkRegistration {
 public:
  explicit ForkRegistration(ForkAware& member, ForkOrder order = ForkOrder::usual);
  ForkRegistration(const ForkRegistration&) = delete;
  ForkRegistration& operator=(const ForkRegistration&) = delete;
  ~ForkRegistration();

 private:
  ForkRegistry& registry_;
  ForkAware& member_;
};

/// Whether one of the registered objects says so: `ForkAware::is_held`.
bool is_held_in_process(std::string_view key, std::string_view owner_tag) noexcept;

}  // namespace redlatch::detail
