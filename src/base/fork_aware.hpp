#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

  /// The value, which begins with this owner tag, of a valid lease of the key that a lock has here.
  /// Empty if there is none, as for an object that has no leases.
  virtual std::optional<std::string> held_value(std::string_view key, std::string_view owner_tag) {
    static_cast<void>(key);
    static_cast<void>(owner_tag);
    return std::nullopt;
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

/// What all of the registered objects have: `ForkAware::held_value`.
std::vector<std::string> held_in_process(std::string_view key, std::string_view owner_tag);

}  // namespace redlatch::detail
