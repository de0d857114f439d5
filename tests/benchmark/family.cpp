#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "suites.hpp"
#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr const char* shared_key = "bench:shared";

template <class Take>
Team team_of(int threads, const std::shared_ptr<Client>& client, Take take,
             const std::function<std::string(int)>& key_of) {
  using Kind = std::invoke_result_t<Take, Client&, const std::string&>;
  Team team;
  for (int i = 0; i < threads; ++i) {
    team.push_back(std::make_unique<Scoped<Kind>>(
        [client, take, key = key_of(i)] { return take(*client, key); }));
  }
  return team;
}

/// Each thread has a key of its own.
template <class Take>
Contestant member(std::string name, Take take) {
  return {std::move(name), [take](const Scenario& scenario, const Setting& setting) {
            const auto client = std::make_shared<Client>(url_of(scenario, setting.server));
            return run(team_of(scenario.threads, client, take,
                               [](int i) { return "bench:" + std::to_string(i); }),
                       setting.window, setting.view);
          }};
}

/// All threads have the same key.
template <class Take>
Sample run_on_one_key(const Scenario& scenario, const Setting& setting, Take take) {
  const auto client = std::make_shared<Client>(url_of(scenario, setting.server));
  return run(team_of(scenario.threads, client, take, [](int) { return shared_key; }),
             setting.window, setting.view);
}

/// Writes again and again, with pauses of 1 ms.
class Writer {
 public:
  explicit Writer(const std::string& url)
      : client_(url), thread_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) write();
        }) {}

  void add_to(Sample& sample) {
    thread_.request_stop();
    thread_.join();
    sample["writer_acquisitions"] = writes_;
    sample["writer_longest_wait_ms"] = std::chrono::duration<double, std::milli>(longest_).count();
  }

 private:
  void write() {
    const Clock::time_point called = Clock::now();
    {
      const WriteLock lock(client_, shared_key);
      longest_ = std::max(longest_, Clock::now() - called);
      ++writes_;
    }
    std::this_thread::sleep_for(1ms);
  }

  Client client_;
  Clock::duration longest_{0};
  int writes_ = 0;
  std::jthread thread_;
};

ReadLock read(Client& client, const std::string& key) { return ReadLock(client, key); }
WriteLock write(Client& client, const std::string& key) { return WriteLock(client, key); }

}  // namespace

Suite family() {
  const auto lock = [](Client& client, const std::string& key) { return Lock(client, key); };
  const auto fair = [](Client& client, const std::string& key) { return FairLock(client, key); };
  const auto recursive = [](Client& client, const std::string& key) {
    return RecursiveLock(client, key);
  };
  const auto permit = [](Client& client, const std::string& key) { return Permit(client, key, 3); };
  const auto two = [](Client& client, const std::string& key) {
    return MultiLock(client, {key, key + ":b"});
  };
  const std::vector<Contestant> members{member("Lock", lock),
                                        member("FairLock", fair),
                                        member("ReadLock", read),
                                        member("WriteLock", write),
                                        member("RecursiveLock", recursive),
                                        member("MultiLock, 2 keys", two),
                                        member("Permit", permit)};
  const std::vector<Contestant> readers{
      {"ReadLock", [](const Scenario& scenario,
                      const Setting& setting) { return run_on_one_key(scenario, setting, read); }},
      {"ReadLock, a writer",
       [](const Scenario& scenario, const Setting& setting) {
         Writer writer(url_of(scenario, setting.server));
         Sample sample = run_on_one_key(scenario, setting, read);
         writer.add_to(sample);
         return sample;
       }},
      {"WriteLock", [](const Scenario& scenario, const Setting& setting) {
         return run_on_one_key(scenario, setting, write);
       }}};
  Suite suite{.matches = {},
              .full = {7, {100ms, 500ms}},
              .quick = {3, {30ms, 100ms}},
              .figures = {.absolute = {"cycles_per_second", "cycle_p50_us", "cycle_p99_us",
                                       "commands", "cpu_us", "allocations", "connections",
                                       "writer_acquisitions", "writer_longest_wait_ms"},
                          .relative = {"cycles_per_second", "cycle_p99_us"},
                          .baseline = "Lock"}};
  for (const int threads : {1, 16}) {
    const Scenario scenario{.suite = "family", .threads = threads};
    suite.matches.push_back({scenario, members});
  }
  for (const int threads : {1, 8, 32}) {
    const Scenario scenario{.suite = "readers of one key", .threads = threads};
    suite.matches.push_back({scenario, readers});
  }
  return suite;
}

}  // namespace redlatch::benchmark
