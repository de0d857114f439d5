// Many count at once: a lock that does not keep the others out loses their changes.

#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "child.hpp"
#include "family.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace family_exclusion_test {

template <class L>
class EveryLockExclusion : public FamilyTest<Pair<L, L>> {
 protected:
  static constexpr int contenders = 6;
  static constexpr int rounds = 25;

  void add(Client& own) {
    for (int i = 0; i < rounds; ++i) {
      auto lock = deferred<L>(own);
      lock.lock();
      const int seen = *number;
      std::this_thread::yield();  // another one's turn
      *number = seen + 1;
    }
  }

  SharedMemory<std::atomic<int>> number{};
};
using Exclusive = testing::Types<FairLock, WriteLock, RecursiveLock, Permit>;
TYPED_TEST_SUITE(EveryLockExclusion, Exclusive, );

TYPED_TEST(EveryLockExclusion, BetweenProcessesLosesNoUpdate) {
  std::list<Child> processes;
  for (int i = 0; i < this->contenders; ++i) {
    processes.emplace_back([this] {
      Client own(this->server.url(), patient());
      this->add(own);
    });
  }
  for (Child& process : processes) EXPECT_EQ(process.wait(), 0);
  EXPECT_EQ(*this->number, this->contenders * this->rounds);
}

TYPED_TEST(EveryLockExclusion, BetweenThreadsLosesNoUpdate) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < this->contenders; ++i) {
    threads.emplace_back([this] { this->add(this->client); });
  }
  threads.clear();
  EXPECT_EQ(*this->number, this->contenders * this->rounds);
}

TYPED_TEST(EveryLockExclusion, BetweenClientsLosesNoUpdate) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < this->contenders; ++i) {
    threads.emplace_back([this] {
      Client own = this->another();
      this->add(own);
    });
  }
  threads.clear();
  EXPECT_EQ(*this->number, this->contenders * this->rounds);
}

}  // namespace family_exclusion_test
}  // namespace redlatch::test
