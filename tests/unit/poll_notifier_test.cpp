#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <thread>

#include "engine/call.hpp"

namespace redlatch::detail {
namespace poll_notifier_test {

bool is_readable(const PollNotifier& poll_notifier) {
  pollfd watched{.fd = poll_notifier.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, 0) > 0;
}

/// One turn without a notification.
bool has_ended_a_poll(PollNotifier& poll_notifier) {
  poll_notifier.listen();
  const bool has_ended = is_readable(poll_notifier);
  poll_notifier.stop_listening(has_ended);
  return has_ended;
}

/// Wherever `notify` is when its thread stops listening. The threads take turns, so that a round
/// costs time slices on a machine that does other work: as many rounds as two seconds have.
TEST(PollNotifier, EndsOnePollAtMostWhenNobodyListensAnyMore) {
  PollNotifier poll_notifier;
  std::atomic<int> begun = 0;
  std::atomic<int> done = 0;
  std::jthread notifier([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const int round = begun;
      if (round != done) poll_notifier.notify();
      done = round;
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (int round = 1; round <= 200'000 && std::chrono::steady_clock::now() < end; ++round) {
    poll_notifier.listen();
    begun = round;
    for (int i = round % 500; i > 0 && done != round; --i) {
    }
    poll_notifier.stop_listening(false);
    while (done != round) std::this_thread::yield();
    static_cast<void>(has_ended_a_poll(poll_notifier));
    ASSERT_FALSE(has_ended_a_poll(poll_notifier)) << "in round " << round;
  }
}

}  // namespace poll_notifier_test
}  // namespace redlatch::detail
