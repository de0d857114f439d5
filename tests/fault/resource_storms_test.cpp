// Signals through all operations, and forks at every step of them.

#include <gtest/gtest.h>
#include <signal.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "resource_faults.hpp"
#include "resource_journeys.hpp"
#include "resource_sweep.hpp"

namespace redlatch::test {
namespace resource_storms_test {

std::atomic<int> signals = 0;
static_assert(std::atomic<int>::is_always_lock_free);

/// SIGALRM and SIGCHLD, each every millisecond, to the program's threads.
class SignalStorm {
 public:
  explicit SignalStorm(int flags) {
    for (Storm& one : storms_) {
      struct sigaction action {};
      action.sa_handler = [](int) { ++signals; };
      action.sa_flags = flags;
      ::sigaction(one.number, &action, &one.before);
      sigevent event{};
      event.sigev_notify = SIGEV_SIGNAL;
      event.sigev_signo = one.number;
      ::timer_create(CLOCK_MONOTONIC, &event, &one.timer);
      constexpr timespec period{.tv_sec = 0, .tv_nsec = 1'000'000};
      const itimerspec times{.it_interval = period, .it_value = period};
      ::timer_settime(one.timer, 0, &times, nullptr);
    }
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;
  ~SignalStorm() {
    for (const Storm& one : storms_) {
      ::timer_delete(one.timer);
      ::sigaction(one.number, &one.before, nullptr);
    }
  }

 private:
  struct Storm {
    int number;
    struct sigaction before {};
    timer_t timer{};
  };

  std::array<Storm, 2> storms_{Storm{.number = SIGALRM}, Storm{.number = SIGCHLD}};
};

class ResourceStorms : public testing::TestWithParam<std::string> {
 protected:
  /// False when the fork has not come.
  bool survives_fork(const JourneyKind& kind, Function function, int k) {
    const Fault fault{.function = function, .forks = true};
    SCOPED_TRACE(kind.name + ": " + fault.text() + ", call " + std::to_string(k));
    std::unique_ptr<Journey> journey;
    {
      const LibraryCalls library;
      journey = kind.make();
    }
    const auto as_child = [this] {
      Client client(site.url(), usual_options());
      Lock lock(client, "child", std::try_to_lock, long_lease);
      return lock.owns_lock() && lock.unlock() == Unlock::released ? 0 : 1;
    };
    Forker forker(as_child, k % 2 == 0 ? Forker::End::by_exit : Forker::End::at_once);
    {
      const LibraryCalls library;
      const ArmedFault armed(fault, k);
      EXPECT_NO_THROW(journey->act());
    }
    EXPECT_EQ(forker.wait(), 0);
    EXPECT_TRUE(eventually([&] { return journey->leaves_nothing(); }));
    EXPECT_TRUE(journey->works_again());
    return ArmedFault::landed() > 0 && !HasFailure();
  }

  Site site = site_of(GetParam());
  std::vector<JourneyKind> journeys = [this] {
    std::vector<JourneyKind> all = journeys_of(GetParam(), site);
    if (GetParam() == "Client") all.push_back(journey<Renewal<OfClient>>("renewal", site));
    return all;
  }();
};

TEST_P(ResourceStorms, OfSignalsDisturbNoOperation) {
  for (const int flags : {0, SA_RESTART}) {
    const int before = signals;
    const SignalStorm storm(flags);
    for (const JourneyKind& kind : journeys) {
      SCOPED_TRACE(kind.name);
      const auto end = std::chrono::steady_clock::now() + 100ms;
      do {
        const std::unique_ptr<Journey> journey = kind.make();
        EXPECT_NO_THROW(journey->act());
        EXPECT_TRUE(eventually([&] { return journey->leaves_nothing(); }));
      } while (std::chrono::steady_clock::now() < end);
    }
    EXPECT_GT(signals - before, 100) << "there was no storm";
  }
}

/// The child has a client of its own, and nothing that it does is the parent's.
TEST_P(ResourceStorms, OfForksDisturbNoOperation) {
  // The C library's functions are looked up at their first call, which must be over at a fork.
  for (const JourneyKind& kind : journeys) {
    const std::unique_ptr<Journey> journey = kind.make();
    journey->act();
    EXPECT_TRUE(eventually([&] { return journey->leaves_nothing(); }));
  }
  int forks = 0;
  for (const Function function :
       {Function::socket, Function::event_fd, Function::create_thread, Function::connect,
        Function::send, Function::receive, Function::poll, Function::wait}) {
    for (const JourneyKind& kind : journeys) {
      for (int k = 1; survives_fork(kind, function, k); ++k) ++forks;
    }
  }
  EXPECT_GT(forks, 20);
}

INSTANTIATE_TEST_SUITE_P(At, ResourceStorms,
                         testing::Values("Client", "Tls", "Quorum", "Sentinel", "Cluster"),
                         [](const auto& test) { return test.param; });

}  // namespace resource_storms_test
}  // namespace redlatch::test
