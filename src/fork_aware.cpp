#include "fork_aware.hpp"

#include <pthread.h>

#include <mutex>
#include <system_error>
#include <vector>

namespace redlatch::detail {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<ForkAware*> members;

  Registry() {
    const int error = ::pthread_atfork(
        [] {
          registry().mutex.lock();
          for (ForkAware* member : registry().members) member->before_fork();
        },
        [] {
          for (ForkAware* member : registry().members) member->after_fork_in_parent();
          registry().mutex.unlock();
        },
        [] {
          for (ForkAware* member : registry().members) member->after_fork_in_child();
          registry().mutex.unlock();
        });
    if (error != 0) throw std::system_error(error, std::generic_category(), "redlatch: atfork");
  }

  /// Never destroyed: a fork may come after the end of main.
  static Registry& registry() {
    static Registry& registry = *new Registry;
    return registry;
  }
};

}  // namespace

ForkRegistration::ForkRegistration(ForkAware& member) : member_(member) {
  Registry& registry = Registry::registry();
  const std::lock_guard lock(registry.mutex);
  registry.members.push_back(&member_);
}

ForkRegistration::~ForkRegistration() {
  Registry& registry = Registry::registry();
  const std::lock_guard lock(registry.mutex);
  std::erase(registry.members, &member_);
}

}  // namespace redlatch::detail
