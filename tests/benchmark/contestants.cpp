#include "contestants.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

std::string key_of(int thread) { return "bench:" + std::to_string(thread); }

template <class Kind>
Contestant sharing_a_client(std::string name, ClientOptions options) {
  return {std::move(name), [options](const Scenario& scenario, const Setting& setting) {
            const auto client = std::make_shared<Client>(url_of(scenario, setting.server), options);
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              team.push_back(std::make_unique<Kind>(client, key_of(i)));
            }
            return run(team, setting.window, setting.view);
          }};
}

std::string count(int number, const std::string& things) {
  return std::to_string(number) + " " + things;
}

}  // namespace

std::string Scenario::layout() const {
  if (processes == 1) return count(threads, threads == 1 ? "thread" : "threads");
  const std::string each = threads == 1 ? "" : " of " + count(threads, "threads");
  return count(processes, "processes") + each;
}

std::string Scenario::title() const {
  return suite + ", " + transport() + ", " + layout() + ", " + cores() +
         (section.count() == 0 ? "" : ", " + sections());
}

std::string Scenario::sections() const {
  return section.count() == 0 ? "empty sections"
                              : "sections of " + count(static_cast<int>(section.count()), "ms");
}

Contestant bare() {
  return {baseline, [](const Scenario& scenario, const Setting& setting) {
            const auto fail = [] { throw std::runtime_error("bare hiredis: no lock"); };
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              team.push_back(std::make_unique<Bare>(scenario, setting.server, key_of(i), fail));
            }
            return run(team, setting.window, setting.view);
          }};
}

Contestant guard(std::string name, ClientOptions options) {
  return sharing_a_client<Guard>(std::move(name), std::move(options));
}

Contestant unlock(std::string name, ClientOptions options) {
  return sharing_a_client<Waiting>(std::move(name), std::move(options));
}

}  // namespace redlatch::benchmark
