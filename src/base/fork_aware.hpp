#pragma once

namespace redlatch::detail {

/// What has to be told of fork(2): first everything is made to stand still, then the parent goes on
/// and the child lets go of what is not its own.
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

/// Has an object told, for as long as this lives: the last member of its class, so that it is told
/// only while it is whole.
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
