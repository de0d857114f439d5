#include "contest.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <thread>

#include "arena.hpp"
#include "contender.hpp"
#include "crowd.hpp"
#include "eventually.hpp"
#include "monitor.hpp"
#include "shared.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;
using Seconds = std::chrono::duration<double>;
using Milliseconds = std::chrono::duration<double, std::milli>;
using Microseconds = std::chrono::duration<double, std::micro>;

struct Usage {
  Usage(const Crowd& crowd, ServerView& view)
      : calls(view.calls()), clients(crowd.cpu_time()), server(cpu_time_of(view.pid())) {}

  Calls calls;
  std::chrono::nanoseconds clients;
  std::chrono::nanoseconds server;
};

Calls difference(const Calls& before, Calls after) {
  for (const auto& [name, count] : before) after[name] -= count;
  return after;
}

/// Of those who have not got the lock yet.
Clock::duration longest_open_wait(const Arena& arena, Clock::time_point now) {
  Clock::duration longest{0};
  for (const Seat& seat : arena.seats) {
    const Clock::rep since = seat.waits_since;
    if (since != 0) longest = std::max(longest, now.time_since_epoch() - Clock::duration(since));
  }
  return longest;
}

void wait_until_ready(const Arena& arena, int contenders) {
  const bool gathered = test::eventually([&] {
    arena.check();
    return arena.ready == contenders;
  });
  if (!gathered) throw std::runtime_error("the contenders do not get ready");
}

void wait_for_the_end(const Arena& arena, Crowd& crowd) {
  const bool ended = crowd.end_within(10s);
  arena.check();
  if (!ended) throw std::runtime_error("a contender hung, or was ended by a signal");
}

Sample tally(const Arena& arena, int contenders, Clock::duration open_wait) {
  Histogram hand_overs;
  Clock::duration longest_wait = open_wait;
  double sum = 0;
  double squares = 0;
  for (const Seat& seat : arena.seats) {
    const auto acquisitions = static_cast<double>(seat.acquisitions);
    hand_overs.add(seat.hand_overs);
    longest_wait = std::max(longest_wait, seat.longest_wait);
    sum += acquisitions;
    squares += acquisitions * acquisitions;
  }
  if (sum == 0) throw std::runtime_error("no contender acquired the lock");
  Sample sample{{"acquisitions", sum},
                {"jain", sum * sum / (contenders * squares)},
                {"longest_wait_ms", Milliseconds(longest_wait).count()},
                {"hand_overs", static_cast<double>(hand_overs.count()) / sum}};
  if (hand_overs.count() > 0) {
    sample["hand_over_p50_us"] = hand_overs.quantile_us(0.5);
    sample["hand_over_p99_us"] = hand_overs.quantile_us(0.99);
  }
  return sample;
}

/// For how long, afterwards, messages that clients send to themselves are awaited.
std::chrono::milliseconds time_to_hear(const Window& window) { return window.measured / 12; }

}  // namespace

Sample contest(const Scenario& scenario, const Setting& setting,
               const std::function<Team()>& make_team) {
  const int contenders = scenario.processes * scenario.threads;
  setting.view.forget_locks();
  const Shared<Arena> arena;
  Crowd crowd(scenario.processes, [&](int process) {
    contend(*arena, static_cast<std::size_t>(process * scenario.threads), make_team,
            scenario.section);
  });
  wait_until_ready(*arena, contenders);
  arena->phase = Phase::running;
  std::this_thread::sleep_for(setting.window.warm_up);

  const Usage before(crowd, setting.view);
  const Clock::time_point begin = Clock::now();
  arena->phase = Phase::measured;
  std::this_thread::sleep_until(begin + setting.window.measured);
  arena->phase = Phase::running;
  const Clock::time_point end = Clock::now();
  const Clock::duration open_wait = longest_open_wait(*arena, end);
  arena->check();
  const Usage after(crowd, setting.view);

  Monitor monitor(setting.server.socket());
  std::this_thread::sleep_for(time_to_hear(setting.window));
  const double sent = monitor.sent_by_clients(difference(before.calls, after.calls), setting.view);
  arena->phase = Phase::over;
  wait_for_the_end(*arena, crowd);

  Sample sample = tally(*arena, contenders, open_wait);
  const double acquisitions = sample["acquisitions"];
  sample["acquisitions_per_second"] = acquisitions / Seconds(end - begin).count();
  sample["cpu_us"] = Microseconds(after.clients - before.clients).count() / acquisitions;
  sample["server_cpu_us"] = Microseconds(after.server - before.server).count() / acquisitions;
  sample["sent"] = sent / acquisitions;
  add_calls(sample, before.calls, after.calls, acquisitions);
  return sample;
}

}  // namespace redlatch::benchmark
