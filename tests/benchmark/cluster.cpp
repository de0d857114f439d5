#include "cluster.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blocking_loop.hpp"
#include "suites.hpp"
#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

/// Where the keys are.
enum class Place { server, one_node, all_nodes };

/// Each thread has a slot of its own.
std::string key_of(int thread, Place place) {
  constexpr std::array<unsigned, 3> first_slots{0, 6'000,
                                                12'000};  // of the nodes, or a little more
  const auto number = static_cast<unsigned>(thread);
  const unsigned first = place == Place::all_nodes ? first_slots.at(number % 3) : first_slots[0];
  return test::Cluster::key_in(first + number);
}

template <class Kind>
Contestant sharing_a_client(std::string name, const std::shared_ptr<test::Cluster>& cluster,
                            Place place) {
  return {std::move(name), [=](const Scenario& scenario, const Setting& setting) {
            const std::string url =
                place == Place::server ? url_of(scenario, setting.server) : cluster->url();
            const auto client = std::make_shared<Client>(url);
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              team.push_back(std::make_unique<Kind>(client, key_of(i, place)));
            }
            return run(team, setting.window, setting.view);
          }};
}

/// What a cluster costs at least, as a node computes the slot of each key of each command, and
/// twice for the commands of a script: bare loops with as many connections as redlatch has, and
/// batches as large as its own.
Contestant in_batches(std::string name, const std::shared_ptr<test::Cluster>& cluster, Place place,
                      BlockingLoop::Release release) {
  return {
      std::move(name), [=](const Scenario& scenario, const Setting& setting) {
        const std::uint16_t port =
            place == Place::server ? setting.server.port() : cluster->port(0);
        const int loops = std::min(scenario.threads, static_cast<int>(ClientOptions{}.connections));
        std::vector<std::vector<std::string>> keys(static_cast<std::size_t>(loops));
        for (int i = 0; i < scenario.threads; ++i) {
          keys[static_cast<std::size_t>(i % loops)].push_back(key_of(i, place));
        }
        Team team;
        for (auto& its_keys : keys) {
          team.push_back(std::make_unique<BlockingLoop>(port, "", release, std::move(its_keys)));
        }
        Sample sample = run(team, setting.window, setting.view);
        sample["cycles_per_second"] *= scenario.threads / loops;
        return sample;
      }};
}

/// The rate on a cluster as a share of the one on a server, for redlatch and for a bare loop, and
/// what redlatch's share is of the bare one.
void add(const std::string& kind, const std::string& bare, std::vector<Quotient>& quotients) {
  const std::string one = kind + ", one node";
  const std::string server = kind + ", one server";
  const std::string bare_one = bare + ", one node";
  const std::string bare_server = bare + ", one server";
  quotients.push_back({kind + ": one node / one server", {one}, {server}});
  quotients.push_back({bare + ": one node / one server", {bare_one}, {bare_server}});
  quotients.push_back({"the former / the latter", {one, bare_server}, {server, bare_one}});
  quotients.push_back({kind + ": three nodes / one node", {kind + ", three nodes"}, {one}});
}

}  // namespace

Suite cluster() {
  test::ClusterOptions options;
  options.replicas = 0;
  options.node_timeout = 20s;  // which no node is busy for
  const auto nodes = std::make_shared<test::Cluster>(options);
  const std::string waiting = "bare loop";
  const std::string sending = "bare loop, releases sent";
  std::vector<Contestant> contestants;
  for (const auto& [name, place] :
       {std::pair(", one server", Place::server), std::pair(", one node", Place::one_node),
        std::pair(", three nodes", Place::all_nodes)}) {
    contestants.push_back(sharing_a_client<Guard>(std::string("guard") + name, nodes, place));
    contestants.push_back(sharing_a_client<Waiting>(std::string("unlock") + name, nodes, place));
    if (place == Place::all_nodes) continue;
    using Release = BlockingLoop::Release;
    contestants.push_back(in_batches(waiting + name, nodes, place, Release::waited_for));
    contestants.push_back(in_batches(sending + name, nodes, place, Release::sent));
  }
  Suite suite{.matches = {},
              .full = {31, {50ms, 200ms}},
              .quick = {3, {30ms, 100ms}},
              .figures = cycle_figures("guard, one server")};
  add("guard", sending, suite.figures.quotients);
  add("unlock", waiting, suite.figures.quotients);
  for (const int threads : {1, 16, 64}) {
    suite.matches.push_back({Scenario{.suite = "cluster", .threads = threads}, contestants});
  }
  return suite;
}

}  // namespace redlatch::benchmark
