// Locks with redlatch beside locks with bare hiredis and with redis-py, in the same run, on a
// server of their own.

#include <benchmark/benchmark.h>

#include <array>
#include <csignal>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "machine.hpp"
#include "pinned.hpp"
#include "reconnect.hpp"
#include "redis_server.hpp"
#include "report.hpp"
#include "rounds.hpp"
#include "suites.hpp"

namespace {

using namespace redlatch::benchmark;

constexpr int bad_usage = 64;  // the exit status of sysexits(3)

constexpr const char* usage =
    "usage: ./dev bench [all|core|engine|ladder|busy_poll|family|redlock|cluster|tls|\n"
    "                    contention|reconnect]\n"
    "                   [--quick] [--only REGEX] [--data FILE]\n"
    "\n"
    "  --quick  short and few measurements: under a minute, and only good for a look\n"
    "  --only   scenarios whose title matches, such as 'TCP, 64 threads, unpinned'\n"
    "  --data   writes all figures into a file, separated by tabs\n"
    "\n"
    "REDLATCH_SERVER is another server to measure on, such as one that has DELIFEQ.\n";

struct Request {
  std::string suite = "all";
  bool quick = false;
  std::regex only{""};
  std::string data{};
  std::string command = "./dev bench";  // without --data, which changes nothing
};

/// Nothing when it makes no sense.
std::optional<Request> read(int argc, char** argv) {
  Request request;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool has_value = word == "--only" || word == "--data";
    if (has_value && ++i == argc) return std::nullopt;
    if (word == "--data") {
      request.data = argv[i];
      continue;
    }
    request.command += " " + word;
    if (word == "--quick") {
      request.quick = true;
    } else if (word == "--only") {
      request.only = argv[i];
      request.command += " '" + std::string(argv[i]) + "'";
    } else if (i == 1 && !word.starts_with('-')) {
      request.suite = word;
    } else {
      return std::nullopt;
    }
  }
  return request;
}

/// One round after the other of all that is asked for.
bool measure(const std::vector<Match>& matches, int rounds, const Setting& setting,
             Results& results) {
  bool good = true;
  for (std::size_t i = 0; i < matches.size(); ++i) {
    const auto& [scenario, contestants] = matches[i];
    std::cerr << "bench: " << i + 1 << " of " << matches.size() << ": " << scenario.title() << '\n';
    std::optional<Pinned> pinned;
    if (scenario.pinned) pinned.emplace(setting.view.pid());
    good = run_rounds(rounds, scenario, contestants, setting, results) && good;
  }
  return good;
}

int run(const Request& request) {
  if (request.suite == "reconnect") {
    reconnect(request.quick, request.data);
    return 0;
  }
  auto [matches, full, quick, figures, tls] = suite(request.suite);
  std::erase_if(matches, [&](const Match& match) {
    return !std::regex_search(match.scenario.title(), request.only);
  });
  if (matches.empty()) {
    std::cerr << "bench: there is nothing of that kind to measure\n" << usage;
    return bad_usage;
  }
  using redlatch::test::RedisServer;
  const RedisServer server = tls ? RedisServer(RedisServer::WithTls{}) : RedisServer();
  ServerView view(server.socket());
  const auto& [rounds, window] = request.quick ? quick : full;
  const Setting setting{server, view, window};

  const Circumstances circumstances{
      {"command", request.command},
      {"machine", machine()},
      {"server", view.version()},
      {"date", today()},
      {"rounds", std::to_string(rounds) + " of " + std::to_string(window.measured.count()) +
                     " ms each; median (least - most); ratios are formed in each round"}};
  Results results(std::move(figures));
  const bool good = measure(matches, rounds, setting, results);
  print(circumstances, results);
  if (!request.data.empty()) {
    std::ofstream file(request.data);
    write_tsv(file, circumstances, results);
    if (!file.flush()) throw std::runtime_error("cannot write " + request.data);
  }
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // which bare hiredis gets where a server is gone
  try {
    std::string interleaved = "--benchmark_enable_random_interleaving=true";
    std::array<char*, 2> settings{argv[0], interleaved.data()};
    int count = settings.size();
    ::benchmark::Initialize(&count, settings.data());

    const auto request = read(argc, argv);
    if (request) return run(*request);
    std::cerr << usage;
    return bad_usage;
  } catch (const std::exception& error) {
    std::cerr << "bench: " << error.what() << '\n';
    return 1;
  }
}
