// Cycles of acquire + release of one free key, one thread, beside the same two commands by bare
// hiredis.

#include <benchmark/benchmark.h>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "bare_loop.hpp"
#include "ratio_reporter.hpp"
#include "redis_server.hpp"

namespace {

using redlatch::benchmark::BareLoop;

const std::string key = "bench:core";

void run_redlatch(benchmark::State& state, const std::string& url) {
  redlatch::Client client(url);
  redlatch::Lock lock(client, key, std::defer_lock);
  for ([[maybe_unused]] auto _ : state) {
    lock.lock();
    if (lock.unlock() != redlatch::Unlock::released) state.SkipWithError("lost the lock");
  }
}

void run_bare(benchmark::State& state, BareLoop& loop) {
  for ([[maybe_unused]] auto _ : state) {
    // The token is drawn for each cycle, as it has to be.
    if (!loop.cycle(key, redlatch::make_token())) state.SkipWithError("lost the lock");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<char*> arguments(argv, argv + argc);
    std::string interleaved = "--benchmark_enable_random_interleaving=true";
    std::string repetitions = "--benchmark_repetitions=15";
    arguments.insert(arguments.begin() + 1, {interleaved.data(), repetitions.data()});
    auto count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 64;

    const redlatch::test::RedisServer server;
    BareLoop tcp("127.0.0.1", server.port());
    BareLoop local(server.socket());
    const auto add = [](const char* name, auto run) {
      benchmark::RegisterBenchmark(name, run)->UseRealTime()->MinTime(1);
    };
    add("redlatch/tcp", [&](benchmark::State& state) { run_redlatch(state, server.url()); });
    add("bare/tcp", [&](benchmark::State& state) { run_bare(state, tcp); });
    add("redlatch/unix", [&](benchmark::State& state) { run_redlatch(state, server.unix_url()); });
    add("bare/unix", [&](benchmark::State& state) { run_bare(state, local); });

    redlatch::benchmark::RatioReporter reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    return reporter.failed() ? 1 : 0;
  } catch (const std::exception& error) {
    std::cerr << "bench_core: " << error.what() << '\n';
    return 1;
  }
}
