// Everything that users of the headers instantiate, for the warnings that a compiler only gives for
// what it has instantiated and optimised. `./dev lint` compiles it; there is nothing to run.

#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/redlatch.hpp>

namespace redlatch::test {

/// Every way to construct a lock.
template <class L, class... What>
void construct(What&... what) {
  using namespace std::chrono_literals;
  const std::stop_token stop;
  const LockOptions options{.ttl = 5s};
  static_cast<void>(owns_all(L(what..., options), L(what..., std::try_to_lock, options),
                             L(what..., std::defer_lock, options), L(what..., 1.5s, options),
                             L(what..., stop, options), L(what..., 1min, stop, options)));
}

template <class L>
void use(L lock) {
  using namespace std::chrono_literals;
  lock.lock();
  static_cast<void>(lock.lock(std::stop_token()));
  static_cast<void>(lock.try_lock());
  static_cast<void>(lock.try_lock_for(1.5s));
  static_cast<void>(lock.try_lock_until(std::chrono::system_clock::now() + 1h));
  static_cast<void>(lock.extend());
  static_cast<void>(lock.extend(1min));
  static_cast<void>(lock.verify());
  static_cast<void>(lock.owns_lock() && lock.remaining() > 0s && lock.lost_token().stop_possible());
  static_cast<void>(lock.lost_token(std::stop_token()).stop_requested());
  static_cast<void>(owns_all(lock, lock));
  static_cast<void>(lock.fencing_token());
  static_cast<void>(lock.unlock());
  const std::scoped_lock guard(lock);
  L other = std::move(lock);
  lock = std::move(other);
}

struct Plan {
  std::string key;
  std::chrono::milliseconds ttl;
};

/// With arguments that are no temporaries.
void use_plan(Client& client, Quorum& nodes, const Plan& plan) {
  using namespace std::chrono_literals;
  use(Lock(client, plan.key, 100ms, {.ttl = plan.ttl}));
  use(Lock(client, plan.key, std::try_to_lock, {.ttl = plan.ttl}));
  use(Permit(client, plan.key, 3, 100ms, {.ttl = plan.ttl}));
  use(RecursiveLock(client, plan.key, Owner{plan.key}, {.ttl = plan.ttl}));
  use(Redlock(nodes, plan.key, 100ms, {.ttl = plan.ttl}));
}

void use_every_class(Client& client, Quorum& nodes) {
  use_plan(client, nodes, {.key = "key", .ttl = std::chrono::seconds(1)});
  use(Lock(client, "key"));
  use(FairLock(client, "key"));
  use(ReadLock(client, "key"));
  use(WriteLock(client, "key"));
  use(WriteLock(client, "key").downgrade());
  use(RecursiveLock(client, "key"));
  use(MultiLock(client, {"one", "other"}));
  use(Permit(client, "key", 3));
  use(Redlock(nodes, "key"));
  static_cast<void>(RecursiveLock(client, "key", Owner{"name"}).hold_count());
  const char* const key = "key";
  const Owner owner{"name"};
  const std::vector<std::string> keys{"one", "other"};
  const int limit = 3;
  construct<Lock>(client, key);
  construct<FairLock>(client, key);
  construct<ReadLock>(client, key);
  construct<WriteLock>(client, key);
  construct<RecursiveLock>(client, key);
  construct<RecursiveLock>(client, key, owner);
  construct<MultiLock>(client, keys);
  construct<Permit>(client, key, limit);
  construct<Redlock>(nodes, key);
}

}  // namespace redlatch::test
