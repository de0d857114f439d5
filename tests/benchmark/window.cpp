#include "window.hpp"

#include <sys/resource.h>

#include <barrier>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <numeric>
#include <thread>

#include "allocations.hpp"
#include "histogram.hpp"

namespace redlatch::benchmark {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

/// What a thread counts while it cycles.
struct Tally {
  Histogram acquire{};
  Histogram release{};
  Histogram cycle{};
  std::uint64_t cycles = 0;
  std::uint64_t allocations = 0;
  double cycles_per_second = 0;
};

struct Thread {
  Tally warm_up{};
  Tally measured{};
  std::exception_ptr error{};
};

void cycle_for(std::chrono::milliseconds time, Worker& worker, Tally& tally) {
  const std::uint64_t allocations = allocations_of_this_thread();
  const Clock::time_point begin = Clock::now();
  Clock::time_point now = begin;
  while (now < begin + time) {
    worker.acquire();
    const Clock::time_point held = Clock::now();
    worker.release();
    const Clock::time_point released = Clock::now();
    tally.acquire.add(held - now);
    tally.release.add(released - held);
    tally.cycle.add(released - now);
    ++tally.cycles;
    now = released;
  }
  tally.allocations = allocations_of_this_thread() - allocations;
  tally.cycles_per_second = static_cast<double>(tally.cycles) / Seconds(now - begin).count();
}

/// Of all threads, also of those that the library started.
double cpu_seconds() noexcept {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

Tally total(const std::vector<Thread>& threads) {
  Tally all;
  for (const Thread& thread : threads) {
    if (thread.error) std::rethrow_exception(thread.error);
    all.acquire.add(thread.measured.acquire);
    all.release.add(thread.measured.release);
    all.cycle.add(thread.measured.cycle);
    all.cycles += thread.measured.cycles;
    all.allocations += thread.measured.allocations;
    all.cycles_per_second += thread.measured.cycles_per_second;
  }
  return all;
}

}  // namespace

Sample run(const Team& team, const Window& window, ServerView& server) {
  const Calls calls_before = server.calls();
  double cpu = 0;
  std::barrier all_warm(static_cast<std::ptrdiff_t>(team.size()),
                        [&]() noexcept { cpu = -cpu_seconds(); });
  std::vector<Thread> threads(team.size());
  {
    std::vector<std::jthread> running;
    for (std::size_t i = 0; i < team.size(); ++i) {
      running.emplace_back([&, i] {
        try {
          cycle_for(window.warm_up, *team[i], threads[i].warm_up);
          all_warm.arrive_and_wait();
          cycle_for(window.measured, *team[i], threads[i].measured);
        } catch (...) {
          threads[i].error = std::current_exception();
          all_warm.arrive_and_drop();
        }
      });
    }
  }
  cpu += cpu_seconds();
  const Tally all = total(threads);
  const auto cycles = static_cast<double>(all.cycles);
  const auto cycles_of_warm_up = std::transform_reduce(
      threads.begin(), threads.end(), 0.0, std::plus<>(),
      [](const Thread& thread) { return static_cast<double>(thread.warm_up.cycles); });

  Sample sample{{"cycles_per_second", all.cycles_per_second},
                {"acquire_p50_us", all.acquire.quantile_us(0.5)},
                {"acquire_p99_us", all.acquire.quantile_us(0.99)},
                {"release_p50_us", all.release.quantile_us(0.5)},
                {"release_p99_us", all.release.quantile_us(0.99)},
                {"cycle_p50_us", all.cycle.quantile_us(0.5)},
                {"cycle_p99_us", all.cycle.quantile_us(0.99)},
                {"cpu_us", cpu * 1e6 / cycles},
                {"allocations", static_cast<double>(all.allocations) / cycles},
                {"connections", static_cast<double>(server.connections())}};
  add_calls(sample, calls_before, server.calls(), cycles + cycles_of_warm_up);
  return sample;
}

void add_calls(Sample& sample, const Calls& before, const Calls& after, double cycles) {
  double& all = sample["commands"];
  for (const auto& [name, count] : after) {
    const auto old = before.find(name);
    const std::int64_t calls = count - (old == before.end() ? 0 : old->second);
    all += static_cast<double>(calls) / cycles;
    if (calls != 0) sample["calls:" + name] = static_cast<double>(calls) / cycles;
  }
}

}  // namespace redlatch::benchmark
