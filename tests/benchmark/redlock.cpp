#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bare_quorum.hpp"
#include "suites.hpp"
#include "workers.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

constexpr const char* key = "bench:quorum";

/// Servers that are used for nothing else, the last of which can be stopped.
struct Servers {
  std::array<test::RedisServer, 5> all;

  std::vector<std::string> urls() const {
    std::vector<std::string> urls;
    for (const test::RedisServer& server : all) urls.push_back(server.url());
    return urls;
  }
  std::vector<std::uint16_t> ports() const {
    std::vector<std::uint16_t> ports;
    for (const test::RedisServer& server : all) ports.push_back(server.port());
    return ports;
  }
};

class Stopped {
 public:
  explicit Stopped(const test::RedisServer& server) : server_(server) { server_.pause(); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;
  ~Stopped() { server_.resume(); }

 private:
  const test::RedisServer& server_;
};

/// What a quorum does without asking at once: it goes from one server to the next.
class OneByOne final : public Worker {
 public:
  OneByOne(const Servers& servers, std::chrono::milliseconds time_out) {
    for (const std::string& url : servers.urls()) {
      clients_.push_back(std::make_unique<Client>(url, ClientOptions{.command_timeout = time_out}));
      locks_.emplace_back(*clients_.back(), key, std::defer_lock);
    }
  }

  void acquire() override {
    std::size_t held = 0;
    for (Lock& lock : locks_) {
      try {
        held += lock.try_lock() ? 1 : 0;
      } catch (const Error&) {
        // One voice less.
      }
    }
    if (held <= locks_.size() / 2) throw std::runtime_error("one by one: no quorum");
  }
  void release() override {
    for (Lock& lock : locks_) static_cast<void>(lock.unlock());
  }

 private:
  std::vector<std::unique_ptr<Client>> clients_{};
  std::vector<Lock> locks_{};
};

class OnAQuorum final : public Worker {
 public:
  explicit OnAQuorum(const Servers& servers) : nodes_(servers.urls()) {}

  void acquire() override { lock_.lock(); }
  void release() override { static_cast<void>(lock_.unlock()); }

 private:
  Quorum nodes_;
  Redlock lock_{nodes_, key, std::defer_lock};
};

using MakeWorker = std::function<std::unique_ptr<Worker>(const Servers&)>;

Contestant contestant(std::string name, const std::shared_ptr<Servers>& servers, MakeWorker make,
                      bool with_one_stopped) {
  return {std::move(name), [=](const Scenario&, const Setting& setting) {
            Team team;
            team.push_back(make(*servers));
            team.front()->acquire();  // connects
            team.front()->release();
            std::unique_ptr<Stopped> stopped;
            if (with_one_stopped) stopped = std::make_unique<Stopped>(servers->all.back());
            Sample sample = run(team, setting.window, setting.view);
            stopped.reset();
            return sample;
          }};
}

}  // namespace

Suite redlock() {
  const auto servers = std::make_shared<Servers>();
  const MakeWorker one = [](const Servers& all) {
    return std::make_unique<Waiting>(std::make_shared<Client>(all.all.front().url()), key);
  };
  const MakeWorker quorum = [](const Servers& all) { return std::make_unique<OnAQuorum>(all); };
  const MakeWorker bare = [](const Servers& all) {
    return std::make_unique<BareQuorum>(all.ports());
  };
  const MakeWorker one_by_one = [](const Servers& all) {
    return std::make_unique<OneByOne>(all, 50ms);  // as QuorumOptions::server_timeout
  };
  const Scenario scenario{.suite = "redlock, five servers"};
  return {.matches = {{scenario,
                       {contestant("one server", servers, one, false),
                        contestant("bare sockets", servers, bare, false),
                        contestant("Redlock", servers, quorum, false),
                        contestant("Redlock, 1 stopped", servers, quorum, true),
                        contestant("one by one", servers, one_by_one, false),
                        contestant("one by one, 1 st.", servers, one_by_one, true)}}},
          .full = {11, {200ms, 1s}},
          .quick = {3, {50ms, 300ms}},
          .figures = {.absolute = {"cycles_per_second", "acquire_p50_us", "acquire_p99_us",
                                   "release_p50_us", "release_p99_us", "cycle_p50_us",
                                   "cycle_p99_us", "cpu_us", "allocations"},
                      .relative = {"cycles_per_second", "acquire_p50_us", "cycle_p99_us"},
                      .baseline = "one server"}};
}

}  // namespace redlatch::benchmark
