#include "cluster.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

void add(const std::string& kind, std::vector<Quotient>& quotients) {
  const std::string one = kind + ", one node";
  quotients.push_back({kind + ": one node / one server", {one}, {kind + ", one server"}});
  quotients.push_back({kind + ": three nodes / one node", {kind + ", three nodes"}, {one}});
}

}  // namespace

Suite cluster() {
  test::ClusterOptions options;
  options.replicas = 0;
  options.node_timeout = 20s;  // which no node is busy for
  const auto nodes = std::make_shared<test::Cluster>(options);
  std::vector<Contestant> contestants;
  for (const auto& [name, place] :
       {std::pair(", one server", Place::server), std::pair(", one node", Place::one_node),
        std::pair(", three nodes", Place::all_nodes)}) {
    contestants.push_back(sharing_a_client<Guard>(std::string("guard") + name, nodes, place));
    contestants.push_back(sharing_a_client<Waiting>(std::string("unlock") + name, nodes, place));
  }
  Suite suite{.matches = {},
              .full = {31, {50ms, 200ms}},
              .quick = {3, {30ms, 100ms}},
              .figures = cycle_figures("guard, one server")};
  add("guard", suite.figures.quotients);
  add("unlock", suite.figures.quotients);
  for (const int threads : {1, 16, 64}) {
    suite.matches.push_back({Scenario{.suite = "cluster", .threads = threads}, contestants});
  }
  return suite;
}

}  // namespace redlatch::benchmark
