#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "contest.hpp"
#include "suites.hpp"
#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

constexpr const char* key = "bench:contended";

Team team_of(int threads, const std::function<std::unique_ptr<Worker>()>& make) {
  Team team;
  for (int i = 0; i < threads; ++i) team.push_back(make());
  return team;
}

/// Its `{ Lock lock(client, key); }`, a client being shared by all threads of a process.
Contestant waiting_guard() {
  return {
      "redlatch", [](const Scenario& scenario, const Setting& setting) {
        return contest(scenario, setting, [&] {
          const ClientOptions patient{.connect_timeout = 10s, .command_timeout = 10s};
          const auto client = std::make_shared<Client>(url_of(scenario, setting.server), patient);
          return team_of(scenario.threads, [&] { return std::make_unique<Guard>(client, key); });
        });
      }};
}

/// A pause of a length that is drawn each time, from a generator of the poller's own.
class Pause {
 public:
  Pause(std::chrono::microseconds least, std::chrono::microseconds most)
      : length_(least.count(), most.count()) {}

  void operator()() { std::this_thread::sleep_for(std::chrono::microseconds(length_(generator_))); }

 private:
  std::mt19937 generator_{std::random_device{}()};
  std::uniform_int_distribution<std::chrono::microseconds::rep> length_;
};

/// Bare hiredis with a connection for each contender.
Contestant polling(std::string name, std::chrono::microseconds least,
                   std::chrono::microseconds most) {
  return {std::move(name), [=](const Scenario& scenario, const Setting& setting) {
            return contest(scenario, setting, [&] {
              return team_of(scenario.threads, [&] {
                return std::make_unique<Bare>(scenario, setting.server, key, Pause(least, most));
              });
            });
          }};
}

struct Layout {
  int processes;
  int threads;
};

}  // namespace

Suite contention() {
  const std::string base = "polling 1 ms";
  const std::vector<Contestant> contestants{
      waiting_guard(), polling(base, 1ms, 1ms),
      polling("polling 50-250 ms", 50ms, 250ms)};  // what redsync does unless told otherwise
  Suite suite{.matches = {},
              .full = {7, {200ms, 800ms}},
              .quick = {2, {50ms, 200ms}},
              .figures = {.absolute = {"acquisitions_per_second", "hand_over_p50_us",
                                       "hand_over_p99_us", "hand_overs", "longest_wait_ms", "jain",
                                       "sent", "commands", "cpu_us", "server_cpu_us"},
                          .relative = {"acquisitions_per_second", "hand_over_p50_us",
                                       "hand_over_p99_us", "longest_wait_ms"},
                          .baseline = base}};
  for (const auto section : {0ms, 1ms}) {
    for (const auto& [processes, threads] :
         {Layout{2, 1}, {8, 1}, {32, 1}, {1, 2}, {1, 8}, {1, 32}, {4, 8}}) {
      const Scenario scenario{
          .suite = "contention", .threads = threads, .processes = processes, .section = section};
      suite.matches.push_back({scenario, contestants});
    }
  }
  return suite;
}

}  // namespace redlatch::benchmark
