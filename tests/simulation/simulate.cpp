// Runs scenarios, each by a seed of its own and in a process of its own, and says what they broke.

#include <fcntl.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/protocol/script.hpp>

#include "lua_machine.hpp"
#include "scenario.hpp"

namespace redlatch::test {
namespace {

constexpr auto kinds_of_faults = static_cast<std::size_t>(SimFault::count);

/// In a pipe: numbers, and a line for each violation.
std::string written(const ScenarioResult& result) {
  std::ostringstream text;
  text << result.attempts << ' ' << result.acquired << ' ' << result.errors << ' ' << result.lost
       << ' ' << result.fingerprint;
  for (const auto count : result.faults) text << ' ' << count;
  text << '\n';
  for (const std::string& one : result.violations) text << one << '\n';
  return text.str();
}

ScenarioResult read(const std::string& text) {
  std::istringstream in(text);
  ScenarioResult result;
  in >> result.attempts >> result.acquired >> result.errors >> result.lost >> result.fingerprint;
  for (auto& count : result.faults) in >> count;
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) result.violations.push_back(line);
  return result;
}

/// A scenario in a child process, which shares nothing with others.
class Child {
 public:
  explicit Child(std::uint64_t seed) : seed_(seed) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("no process");
    if (pid_ == 0) run(ends[1]);
    ::close(ends[1]);
    output_ = ends[0];
  }

  std::uint64_t seed() const noexcept { return seed_; }

  ScenarioResult end() const {
    std::string text;
    std::array<char, 4096> room{};
    for (ssize_t count = 0; (count = ::read(output_, room.data(), room.size())) > 0;) {
      text.append(room.data(), static_cast<std::size_t>(count));
    }
    ::close(output_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ScenarioResult result = read(text);
    if (WIFSIGNALED(status)) {
      result.violations.push_back("ended by signal " + std::to_string(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0) {
      result.violations.push_back("ended with status " + std::to_string(WEXITSTATUS(status)));
    }
    return result;
  }

 private:
  [[noreturn]] void run(int output) const {
    const std::string text = written(run_scenario(seed_));
    const ssize_t count = ::write(output, text.data(), text.size());
    ::_exit(count < 0 ? 1 : 0);
  }

  std::uint64_t seed_;
  pid_t pid_ = 0;
  int output_ = -1;
};

/// What many scenarios come to.
class Sum {
 public:
  void add(std::uint64_t seed, const ScenarioResult& one) {
    ++scenarios_;
    attempts_ += one.attempts;
    acquired_ += one.acquired;
    errors_ += one.errors;
    lost_ += one.lost;
    for (std::size_t i = 0; i < kinds_of_faults; ++i) faults_[i] += one.faults[i];
    if (one.violations.empty()) return;
    ++broken_;
    for (const std::string& violation : one.violations) {
      std::cout << "seed " << seed << ": " << violation << std::endl;
    }
  }
  bool is_clean() const noexcept { return broken_ == 0; }
  std::uint64_t scenarios() const noexcept { return scenarios_; }

  void print(std::chrono::duration<double> time) const {
    std::cout << "scenarios: " << scenarios_ << " (" << std::fixed << std::setprecision(0)
              << static_cast<double>(scenarios_) * 60 / time.count()
              << " a minute), with violations: " << broken_ << "\ncalls: " << attempts_
              << ", of which locks were held by " << acquired_ << ", errors " << errors_
              << "\nlocks beside others, as a failover has lost one of the two: " << lost_
              << "\nfaults that landed:\n";
    for (std::size_t i = 0; i < kinds_of_faults; ++i) {
      std::cout << "  " << std::left << std::setw(26) << to_string(static_cast<SimFault>(i))
                << faults_[i] << '\n';
    }
  }

 private:
  std::uint64_t scenarios_ = 0;
  std::uint64_t broken_ = 0;
  std::uint64_t attempts_ = 0;
  std::uint64_t acquired_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t lost_ = 0;
  std::array<std::uint64_t, kinds_of_faults> faults_{};
};

/// Each hundredth seed runs twice: what it does must not depend on anything else.
ScenarioResult checked(const Child& child) {
  constexpr std::uint64_t period = 100;
  ScenarioResult result = child.end();
  if (child.seed() % period != 0) return result;
  if (Child(child.seed()).end().fingerprint != result.fingerprint) {
    result.violations.push_back("something else happens when the seed runs again");
  }
  return result;
}

Sum run(std::uint64_t first, std::uint64_t count, std::size_t jobs) {
  constexpr std::uint64_t of_progress = 5000;
  Sum sum;
  std::deque<Child> running;
  std::uint64_t next = first;
  while (next < first + count || !running.empty()) {
    while (next < first + count && running.size() < jobs) running.emplace_back(next++);
    sum.add(running.front().seed(), checked(running.front()));
    running.pop_front();
    if (sum.scenarios() % of_progress == 0) {
      std::cout << "so far: " << sum.scenarios() << " scenarios" << std::endl;
    }
  }
  return sum;
}

/// So that no child does it.
void compile_scripts() {
  LuaMachine& machine = LuaMachine::of_this_process();
  for (const protocol::Script* script : protocol::all_scripts()) {
    machine.compile(machine.sha1(script->text), script->text);
  }
}

/// Addresses are the same each time then: some containers are ordered by them.
void fix_addresses(char** argv) {
  if ((::personality(0xFFFFFFFF) & ADDR_NO_RANDOMIZE) != 0) return;
  if (::personality(ADDR_NO_RANDOMIZE) != -1) ::execv("/proc/self/exe", argv);
}

}  // namespace
}  // namespace redlatch::test

int main(int argc, char** argv) {
  using namespace redlatch::test;
  CLI::App app("Runs redlatch with simulated threads, clocks, networks and servers, under faults.",
               "simulate");
  std::uint64_t first = std::random_device()();
  std::uint64_t count = 1000;
  std::size_t jobs = 2;
  app.add_option("--seed", first, "the first seed; drawn if none is given");
  app.add_option("--seeds", count, "how many seeds, one after the other")->capture_default_str();
  app.add_option("--jobs", jobs, "how many of them at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  CLI11_PARSE(app, argc, argv);
  fix_addresses(argv);
  compile_scripts();
  std::cout << "the first seed: " << first << std::endl;
  const auto begun = std::chrono::steady_clock::now();
  const Sum sum = run(first, count, jobs);
  sum.print(std::chrono::steady_clock::now() - begun);
  if (!sum.is_clean()) {
    std::cout << "one again, with all that goes over the network: REDLATCH_SIMULATION_SHOWS=1 "
                 "./dev torture --simulate --seed SEED --seeds 1\n";
  }
  return sum.is_clean() ? 0 : 1;
}
