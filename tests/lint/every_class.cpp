// Everything that users of the headers instantiate, for the warnings that a compiler only gives for
// what it has instantiated and optimised. `./dev lint` compiles it; there is nothing to run.

#include <chrono>
#include <mutex>
#include <stop_token>
#include <utility>

#include <redlatch/redlatch.hpp>

namespace redlatch::test {

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
  static_cast<void>(lock.fencing_token());
  static_cast<void>(lock.unlock());
  const std::scoped_lock guard(lock);
  L other = std::move(lock);
  lock = std::move(other);
}

void use_every_class(Client& client, Quorum& nodes) {
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
}

}  // namespace redlatch::test
