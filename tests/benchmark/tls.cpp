#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "blocking_loop.hpp"
#include "certificates.hpp"
#include "suites.hpp"
#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

std::string key_of(int thread) { return "bench:" + std::to_string(thread); }

Contestant blocking(std::string name, bool tls) {
  return {std::move(name), [tls](const Scenario& scenario, const Setting& setting) {
            const std::uint16_t port = tls ? setting.server.tls_port() : setting.server.port();
            const std::string issuer = tls ? test::own_certificates().issuer : "";
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              team.push_back(std::make_unique<BlockingLoop>(port, issuer, key_of(i)));
            }
            return run(team, setting.window, setting.view);
          }};
}

template <class Kind>
Contestant sharing_a_client(std::string name, bool tls) {
  return {std::move(name), [tls](const Scenario& scenario, const Setting& setting) {
            const test::RedisServer& server = setting.server;
            ClientOptions options;
            options.tls.ca_file = test::own_certificates().issuer;
            const auto client = std::make_shared<Client>(
                tls ? server.url() : "redis://127.0.0.1:" + std::to_string(server.port()), options);
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              team.push_back(std::make_unique<Kind>(client, key_of(i)));
            }
            return run(team, setting.window, setting.view);
          }};
}

}  // namespace

Suite tls() {
  const std::string base = "blocking, plain";
  Suite suite{
      .matches = {},
      .full = {11, {100ms, 500ms}},
      .quick = {3, {30ms, 100ms}},
      .figures =
          {.absolute = {"cycles_per_second", "acquire_p50_us", "acquire_p99_us", "release_p50_us",
                        "release_p99_us", "cycle_p50_us", "cycle_p99_us", "commands", "cpu_us",
                        "allocations", "connections"},
           .relative = {"cycles_per_second", "cycle_p99_us"},
           .baseline = base,
           .quotients = {{"blocking loop, TLS / plain", {"blocking, TLS"}, {base}},
                         {"guard, TLS / plain", {"guard, TLS"}, {"guard, plain"}},
                         {"unlock, TLS / plain", {"unlock, TLS"}, {"unlock, plain"}},
                         {"guard, TLS / blocking loop, TLS", {"guard, TLS"}, {"blocking, TLS"}},
                         {"TLS / plain, of guard / of blocking loop",
                          {"guard, TLS", base},
                          {"guard, plain", "blocking, TLS"}},
                         {"TLS / plain, of unlock / of blocking loop",
                          {"unlock, TLS", base},
                          {"unlock, plain", "blocking, TLS"}}}},
      .tls = true};
  for (const int threads : {1, 64}) {
    const Scenario scenario{.suite = "tls", .threads = threads};
    suite.matches.push_back({scenario,
                             {sharing_a_client<Guard>("guard, plain", false),
                              sharing_a_client<Guard>("guard, TLS", true),
                              sharing_a_client<Waiting>("unlock, plain", false),
                              sharing_a_client<Waiting>("unlock, TLS", true), blocking(base, false),
                              blocking("blocking, TLS", true)}});
  }
  return suite;
}

}  // namespace redlatch::benchmark
