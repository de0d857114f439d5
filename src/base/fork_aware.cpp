#include "base/fork_aware.hpp"

#include <pthread.h>

#include <mutex>
#include <system_error>
#include <vector>

namespace redlatch::detail {

class ForkRegistry {
 public:
  std::mutex mutex{};
  std::vector<ForkAware*> members{};

  ForkRegistry() {
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
  static ForkRegistry& registry() {
    static ForkRegistry& registry = *new ForkRegistry;
    return registry;
  }
};

ForkRegistration::ForkRegistration(ForkAware& member)
    : registry_(ForkRegistry::registry()), member_(member) {
  const std::lock_guard lock(registry_.mutex);
  registry_.members.push_back(&member_);
}

ForkRegistration::~ForkRegistration() {
  const std::lock_guard lock(registry_.mutex);
  std::erase(registry_.members, &member_);
}

}  // namespace redlatch::detail
