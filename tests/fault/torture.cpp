// Uses locks of all classes on real servers, in processes of their own, while faults come one or
// two at a time, and judges what these have claimed. What is drawn is drawn from a seed.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "history_check.hpp"
#include "incident.hpp"
#include "torture_stage.hpp"

namespace redlatch::test {
namespace {

using Seconds = std::chrono::duration<double>;

struct Options {
  std::uint64_t seed = std::random_device()();
  double minutes = 10;
  double round_seconds = 15;
  std::vector<std::string> faults{};
  std::vector<std::string> stages{};
};

/// What rounds have come to.
struct Sum {
  std::size_t rounds = 0;
  std::size_t histories = 0;
  std::size_t operations = 0;
  std::size_t claims = 0;
  std::size_t seen_in_stream = 0;
  std::size_t stalls = 0;
  std::size_t crashes = 0;
  std::map<Fault, FaultCount> faults{};
  std::map<Fault, std::size_t> excuses{};
  std::map<Promise, std::size_t> violations{};

  Sum() = default;
  explicit Sum(const RoundResult& one)
      : rounds(1),
        histories(one.histories),
        operations(one.operations),
        claims(one.findings.claims),
        seen_in_stream(one.seen_in_stream),
        stalls(one.stalls),
        crashes(one.crashes.size()),
        faults(one.faults),
        excuses(one.findings.excuses) {
    for (const Violation& violation : one.findings.violations) ++violations[violation.promise];
  }

  Sum& operator+=(const Sum& other) {
    rounds += other.rounds;
    histories += other.histories;
    operations += other.operations;
    claims += other.claims;
    seen_in_stream += other.seen_in_stream;
    stalls += other.stalls;
    crashes += other.crashes;
    for (const auto& [fault, count] : other.faults) {
      faults[fault].tried += count.tried;
      faults[fault].landed += count.landed;
      faults[fault].in_pairs += count.in_pairs;
    }
    for (const auto& [fault, count] : other.excuses) excuses[fault] += count;
    for (const auto& [promise, count] : other.violations) violations[promise] += count;
    return *this;
  }

  std::size_t all_landed() const {
    std::size_t all = 0;
    for (const auto& [fault, count] : faults) all += count.landed;
    return all;
  }
  std::size_t all_excuses() const {
    std::size_t all = 0;
    for (const auto& [fault, count] : excuses) all += count;
    return all;
  }
  std::size_t all_violations() const {
    std::size_t all = crashes;
    for (const auto& [promise, count] : violations) all += count;
    return all;
  }
};

class Torture {
 public:
  explicit Torture(Options options) : options_(std::move(options)) {
    if (!options_.stages.empty()) return;
    for (const std::string_view name : TortureStage::names()) options_.stages.emplace_back(name);
  }

  void run() {
    std::cout << "the first seed: " << options_.seed << std::endl;
    const Seconds each(options_.minutes * 60 / static_cast<double>(options_.stages.size()));
    for (const std::string& name : options_.stages) run(name, each);
  }
  Sum total() const {
    Sum all;
    for (const auto& [name, sum] : sums_) all += sum;
    return all;
  }

  void print() const {
    const Sum all = total();
    print_stages();
    print_faults(all);
    std::cout << "\nviolations:\n";
    for (const Promise promise : promises) {
      const auto found = all.violations.find(promise);
      print_count(to_string(promise), found == all.violations.end() ? 0 : found->second);
    }
    print_count("workers end well", all.crashes);
    std::cout << "\nchanges of keys by scripts, as the server has seen them: " << all.seen_in_stream
              << "\ntimes at which the machine had other work: " << all.stalls << '\n';
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// One round at least.
  void run(const std::string& name, Seconds time) {
    TortureStage stage(name);
    const std::vector<Fault> faults = chosen(stage);
    if (faults.empty()) {
      std::cout << name << ": has none of these faults" << std::endl;
      return;
    }
    const auto end = Clock::now() + time;
    const auto of_faults =
        std::chrono::round<std::chrono::milliseconds>(Seconds(options_.round_seconds));
    do {
      const std::uint64_t seed = options_.seed + rounds_++;
      const RoundResult result = stage.run(seed, faults, of_faults);
      const Sum sum(result);
      sums_[name] += sum;
      report(name, seed, result, sum);
    } while (Clock::now() < end);
  }
  std::vector<Fault> chosen(const TortureStage& stage) const {
    std::vector<Fault> chosen;
    for (const Fault fault : std::set(stage.faults().begin(), stage.faults().end())) {
      const auto& names = options_.faults;
      if (names.empty() || std::ranges::count(names, kind_of(fault).name) > 0) {
        chosen.push_back(fault);
      }
    }
    return chosen;
  }

  void report(const std::string& name, std::uint64_t seed, const RoundResult& one,
              const Sum& sum) const {
    std::cout << name << ", seed " << seed << ": " << sum.operations << " operations, "
              << sum.claims << " claims, " << sum.all_landed() << " faults, longest wait "
              << one.findings.longest_wait.count() << " ms, free and waited for "
              << one.findings.longest_gap.count() << " ms, " << sum.all_violations()
              << " violations" << std::endl;
    for (const std::string& crash : one.crashes) std::cout << crash << '\n';
    if (one.crashes.empty() && one.report.empty()) return;
    std::cout << one.report << "again: ./dev torture --stage " << name << " --seed " << seed
              << " --minutes 0 --round " << options_.round_seconds;
    for (const std::string& fault : options_.faults) std::cout << " --fault " << fault;
    std::cout << std::endl;
  }

  static void print_count(std::string_view what, std::size_t count) {
    std::cout << "  " << std::left << std::setw(36) << what << std::right << std::setw(8) << count
              << '\n';
  }
  void print_stages() const {
    std::cout << "\nstage         rounds  histories  operations     claims     faults   excuses  "
                 "violations\n";
    for (const auto& [name, sum] : sums_) {
      std::cout << std::left << std::setw(12) << name << std::right << std::setw(8) << sum.rounds
                << std::setw(11) << sum.histories << std::setw(12) << sum.operations
                << std::setw(11) << sum.claims << std::setw(11) << sum.all_landed() << std::setw(10)
                << sum.all_excuses() << std::setw(12) << sum.all_violations() << '\n';
    }
  }
  static void print_faults(const Sum& all) {
    std::cout << "\nfault                           tried   landed  in pairs  excuses\n";
    for (const auto& [fault, count] : all.faults) {
      const auto excuses = all.excuses.find(fault);
      std::cout << std::left << std::setw(28) << to_string(fault) << std::right << std::setw(9)
                << count.tried << std::setw(9) << count.landed << std::setw(10) << count.in_pairs
                << std::setw(9) << (excuses == all.excuses.end() ? 0 : excuses->second) << '\n';
    }
  }

  Options options_;
  std::uint64_t rounds_ = 0;
  std::map<std::string, Sum> sums_{};
};

std::vector<std::string> names_of_faults() {
  std::vector<std::string> names;
  for (const FaultKind& kind : all_faults()) names.emplace_back(kind.name);
  return names;
}

}  // namespace
}  // namespace redlatch::test

int main(int argc, char** argv) {
  using namespace redlatch::test;
  CLI::App app("Uses locks of all classes on real servers under faults, and judges the claims.",
               "torture");
  Options options;
  const auto stages = TortureStage::names();
  app.add_option("--seed", options.seed, "that of the first round; drawn if none is given");
  app.add_option("--minutes", options.minutes, "for all stages together; each has a round at least")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100'000.0));
  app.add_option("--round", options.round_seconds, "seconds with faults of each round")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--fault", options.faults, "faults; all if none is given")
      ->check(CLI::IsMember(names_of_faults()));
  app.add_option("--stage", options.stages, "stages; all if none is given")
      ->check(CLI::IsMember(std::vector<std::string>(stages.begin(), stages.end())));
  CLI11_PARSE(app, argc, argv);
  try {
    Torture torture(std::move(options));
    torture.run();
    torture.print();
    return torture.total().all_violations() == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "torture: " << error.what() << '\n';
    return 2;
  }
}
