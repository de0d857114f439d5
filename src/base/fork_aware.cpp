#include "base/fork_aware.hpp"

#include <pthread.h>

#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <redlatch/detail/thread_name.hpp>

#include "base/mutex.hpp"

namespace redlatch::detail {

/// All objects that are called around forks, in the order of their registration. An object that
/// takes the mutexes of others under its own registers before them, or locks them itself: the
/// clients of a quorum register before the quorum, as they record events in it with their own
/// mutexes held. Threads that are in the middle of something end it first, so a fork waits for a
/// step of each, and never for a server.
///
/// Its mutex is held from before a fork until after it, and taken before the mutexes of the
/// members, so no object comes or goes meanwhile.
class ForkRegistry {
 public:
  ForkRegistry() {
    const int error = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (error != 0) throw std::system_error(error, std::generic_category(), "redlatch: atfork");
  }

  /// Registered with the system once, as handlers cannot be removed again; each copy of the library
  /// in a process has a registry of its own. Never destroyed: a fork may come after the end of
  /// main.
  static ForkRegistry& registry() {
    static ForkRegistry& registry = *new ForkRegistry;
    return registry;
  }

  void add(ForkAware& member, ForkOrder order) {
    const MutexLock lock(mutex_);
    (order == ForkOrder::last ? last_ : members_).push_back(&member);
  }
  void remove(const ForkAware& member) noexcept {
    const MutexLock lock(mutex_);
    std::erase(members_, &member);
    std::erase(last_, &member);
  }
  std::vector<std::string> held(std::string_view key, std::string_view owner_tag) {
    std::vector<std::string> values;
    const MutexLock lock(mutex_);
    for (ForkAware* member : members_) {
      if (auto value = member->held_value(key, owner_tag)) values.push_back(*std::move(value));
    }
    return values;
  }

 private:
  // The mutex is locked by one handler and unlocked by another, which the analysis cannot follow.
  static void before_fork() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    registry().mutex_.lock();
    for (ForkAware* member : registry().members_) member->before_fork();
    for (ForkAware* member : registry().last_) member->before_fork();
  }
  static void after_fork_in_parent() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    for (ForkAware* member : registry().last_) member->after_fork_in_parent();
    for (ForkAware* member : registry().members_) member->after_fork_in_parent();
    registry().mutex_.unlock();
  }
  static void after_fork_in_child() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    forget_thread_number();
    for (ForkAware* member : registry().last_) member->after_fork_in_child();
    for (ForkAware* member : registry().members_) member->after_fork_in_child();
    registry().mutex_.unlock();
  }

  Mutex mutex_{};
  std::vector<ForkAware*> members_ REDLATCH_GUARDED_BY(mutex_){};
  std::vector<ForkAware*> last_ REDLATCH_GUARDED_BY(mutex_){};
};

ForkRegistration::ForkRegistration(ForkAware& member, ForkOrder order)
    : registry_(ForkRegistry::registry()), member_(member) {
  registry_.add(member_, order);
}

ForkRegistration::~ForkRegistration() { registry_.remove(member_); }

std::vector<std::string> held_in_process(std::string_view key, std::string_view owner_tag) {
  return ForkRegistry::registry().held(key, owner_tag);
}

}  // namespace redlatch::detail
