#pragma once

namespace redlatch::detail {

/// An object that is called around fork(2). Before it, the object locks its mutexes, so that the
/// child gets its data in a consistent state; afterwards the parent unlocks them, and the child
/// drops the threads and connections, which are the parent's, and unlocks them as well.
class ForkAware {
 public:
  ForkAware() = default;
  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

  virtual void before_fork() = 0;
  virtual void after_fork_in_parent() = 0;
  virtual void after_fork_in_child() noexcept = 0;

 protected:
  ~ForkAware() = default;
};

class ForkRegistry;

/// Has an object called around forks until the registration ends. The last member of the object's
/// class, so that the object is whole while it is registered.
class ForkRegistration {
 public:
  explicit ForkRegistration(ForkAware& member);
  ForkRegistration(const ForkRegistration&) = delete;
  ForkRegistration& operator=(const ForkRegistration&) = delete;
  ~ForkRegistration();

 private:
  ForkRegistry& registry_;
  ForkAware& member_;
};

}  // namespace redlatch::detail
