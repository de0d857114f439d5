#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blocking_loop.hpp"
#include "certificates.hpp"
#include "suites.hpp"
#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

std::string key_of(int thread) { return "bench:" + std::to_string(thread); }

using Release = BlockingLoop::Release;

Contestant blocking(std::string name, bool tls, Release release) {
  return {std::move(name), [=](const Scenario& scenario, const Setting& setting) {
            const std::uint16_t port = tls ? setting.server.tls_port() : setting.server.port();
            const std::string issuer = tls ? test::own_certificates().issuer : "";
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              team.push_back(
                  std::make_unique<BlockingLoop>(port, issuer, release, std::vector{key_of(i)}));
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

/// The rate over TLS as a share of the one over plain TCP, for redlatch and for a bare loop that
/// waits for as many replies, and what redlatch's share is of the bare one.
void compare(std::vector<Quotient>& quotients, const std::string& own, const std::string& bare) {
  const std::string own_tls = own + ", TLS";
  const std::string own_plain = own + ", plain";
  const std::string bare_tls = bare + ", TLS";
  const std::string bare_plain = bare + ", plain";
  quotients.push_back({own + ": TLS / plain", {own_tls}, {own_plain}});
  quotients.push_back({bare + ": TLS / plain", {bare_tls}, {bare_plain}});
  quotients.push_back({"the former / the latter", {own_tls, bare_plain}, {own_plain, bare_tls}});
  quotients.push_back({own + " / " + bare + ", TLS", {own_tls}, {bare_tls}});
}

}  // namespace

Suite tls() {
  const std::string waiting = "blocking";
  const std::string sending = "blocking, release sent";
  std::vector<Contestant> contestants;
  for (const bool tls : {false, true}) {
    const std::string transport = tls ? ", TLS" : ", plain";
    contestants.push_back(sharing_a_client<Guard>("guard" + transport, tls));
    contestants.push_back(sharing_a_client<Waiting>("unlock" + transport, tls));
    contestants.push_back(blocking(waiting + transport, tls, Release::waited_for));
    contestants.push_back(blocking(sending + transport, tls, Release::sent));
  }
  Suite suite{.matches = {},
              .full = {31, {50ms, 200ms}},
              .quick = {3, {30ms, 100ms}},
              .figures = cycle_figures(waiting + ", plain"),
              .tls = true};
  compare(suite.figures.quotients, "unlock", waiting);
  compare(suite.figures.quotients, "guard", sending);
  for (const int threads : {1, 64}) {
    suite.matches.push_back({Scenario{.suite = "tls", .threads = threads}, contestants});
  }
  return suite;
}

}  // namespace redlatch::benchmark
