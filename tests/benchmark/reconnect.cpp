#include "reconnect.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "certificates.hpp"
#include "crowd.hpp"
#include "eventually.hpp"
#include "machine.hpp"
#include "redis_server.hpp"
#include "shared.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr int processes = 10;
constexpr auto bin = 10ms;
constexpr auto patience = 60s;

using Ready = std::atomic<int>;

ClientOptions options() {
  ClientOptions options{.connect_timeout = 20s, .command_timeout = 20s, .connections = 1};
  options.tls.ca_file = test::own_certificates().issuer;
  return options;
}

[[noreturn]] void live_until_killed() {
  for (;;) ::pause();
}

/// Each client holds locks that are renewed.
void hold(const std::string& url, int locks_each, int first, int count, Ready& ready) {
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::unique_ptr<Lock>> locks;
  for (int i = first; i < first + count; ++i) {
    clients.push_back(std::make_unique<Client>(url, options()));
    for (int lock = 0; lock < locks_each; ++lock) {
      const std::string key = std::to_string(i) + ":" + std::to_string(lock);
      locks.push_back(std::make_unique<Lock>(*clients.back(), key));
    }
    ++ready;
  }
  live_until_killed();
}

/// Each client waits for the same lock, and calls again at once when the call has failed.
void wait_for_lock(const std::string& url, int first, int count, Ready& ready) {
  std::vector<std::jthread> threads;
  for (int i = first; i < first + count; ++i) {
    threads.emplace_back([&url, &ready] {
      Client client(url, options());
      client.ping();
      ++ready;
      for (;;) {
        try {
          const Lock lock(client, "awaited");
          live_until_killed();
        } catch (const Error&) {
          continue;  // the server is away
        }
      }
    });
  }
  live_until_killed();
}

/// What clients without jitter would do: each tries again 100 ms after it was refused.
void retry_in_step(std::uint16_t port, int count, Ready& ready) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto connected = [&] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      std::this_thread::sleep_for(100ms);
    }
    return fd;
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      for (;;) {
        const int fd = connected();
        ++ready;
        char byte = 0;
        while (::recv(fd, &byte, 1, 0) > 0) continue;
        ::close(fd);
      }
    });
  }
  live_until_killed();
}

/// The time of day of a line of the server's log: "4711:M 29 Nov 2026 16:01:02.345 * ...".
std::optional<milliseconds> time_of(const std::string& line) {
  std::istringstream words(line);
  std::string process;
  std::string day;
  std::string month;
  std::string year;
  int hours = 0;
  int minutes = 0;
  int seconds = 0;
  int thousandths = 0;
  char separator = 0;
  words >> process >> day >> month >> year >> hours >> separator >> minutes >> separator >>
      seconds >> separator >> thousandths;
  if (!words) return std::nullopt;
  return std::chrono::hours(hours) + std::chrono::minutes(minutes) + std::chrono::seconds(seconds) +
         milliseconds(thousandths);
}

/// When TCP connections were accepted, from the time on that the server was ready, by what it has
/// logged behind `from`.
std::vector<milliseconds> arrivals_in(const std::string& log, std::streamoff from) {
  std::ifstream file(log);
  file.seekg(from);
  std::optional<milliseconds> ready;
  std::vector<milliseconds> arrivals;
  for (std::string line; std::getline(file, line);) {
    const auto time = time_of(line);
    if (!time) continue;
    if (!ready && line.find("Ready to accept connections") != std::string::npos) ready = time;
    if (ready && line.find("Accepted 127.0.0.1:") != std::string::npos) {
      arrivals.push_back(*time - *ready);
    }
  }
  return arrivals;
}

struct Scenario {
  std::string name;
  std::chrono::milliseconds outage;
  double connections;  // of each client, at least
  std::function<void(const test::RedisServer&, int first, int count, Ready&)> live;
};

std::string plain_url(const test::RedisServer& server) {
  return "redis://127.0.0.1:" + std::to_string(server.port());
}

std::vector<Scenario> scenarios() {
  constexpr double waiting_connections = 1.9;  // one for messages, unless it has got the lock
  const auto wait = [](const auto& server, int first, int count, Ready& ready) {
    wait_for_lock(plain_url(server), first, count, ready);
  };
  return {{"a lock each", 5s, 1,
           [](const auto& server, int first, int count, Ready& ready) {
             hold(plain_url(server), 1, first, count, ready);
           }},
          {"a lock each, TLS", 5s, 1,
           [](const auto& server, int first, int count, Ready& ready) {
             hold(server.url(), 1, first, count, ready);
           }},
          {"10 locks each", 5s, 1,
           [](const auto& server, int first, int count, Ready& ready) {
             hold(plain_url(server), 10, first, count, ready);
           }},
          {"waiting", 5s, waiting_connections, wait},
          {"waiting, a short outage", 0s, waiting_connections, wait},
          {"without jitter", 5s, 1, [](const auto& server, int, int count, Ready& ready) {
             retry_in_step(server.port(), count, ready);
           }}};
}

std::vector<milliseconds> arrivals_of(const Scenario& scenario, int clients) {
  test::RedisServer server{
      test::RedisServer::WithTls{},
      {"--maxclients", "10000", "--tcp-backlog", "4096", "--loglevel", "verbose"}};
  const Shared<Ready> ready;
  const int count = clients / processes;
  const Crowd crowd(processes,
                    [&](int number) { scenario.live(server, number * count, count, *ready); });
  if (!test::eventually([&] { return *ready >= clients; }, patience)) {
    throw std::runtime_error(scenario.name + ": not all clients have connected");
  }
  std::this_thread::sleep_for(500ms);
  server.kill();
  const std::string log = server.directory() + "/log";
  const std::streamoff from = std::ifstream(log, std::ios::ate).tellg();
  std::this_thread::sleep_for(scenario.outage);
  server.start();
  std::vector<milliseconds> arrivals;
  const auto all_are_there = [&] {
    arrivals = arrivals_in(log, from);
    return static_cast<double>(arrivals.size()) >= scenario.connections * clients;
  };
  if (!test::eventually(all_are_there, patience)) {
    throw std::runtime_error(scenario.name + ": only " + std::to_string(arrivals.size()) +
                             " connections have come back");
  }
  return arrivals;
}

std::map<milliseconds, int> histogram_of(const std::vector<milliseconds>& arrivals) {
  std::map<milliseconds, int> bins;
  for (const milliseconds time : arrivals) ++bins[time / bin * bin];
  return bins;
}

long at(const std::vector<milliseconds>& arrivals, double share) {
  const auto last = static_cast<double>(arrivals.size() - 1);
  return arrivals[static_cast<std::size_t>(share * last)].count();
}

}  // namespace

void reconnect(bool quick, const std::string& data) {
  const int clients = quick ? 100 : 1000;
  std::ofstream file;
  if (!data.empty()) file.open(data);
  std::printf("machine  %s\ndate     %s\n\nreconnect: %d clients in %d processes\n\n",
              machine().c_str(), today().c_str(), clients, processes);
  std::printf("  %-24s %8s %9s %35s %20s\n", "", "outage", "arrivals",
              "ms: first  median   90 %    last", "most within 10 ms");
  file << "# machine: " << machine() << "\n# date: " << today() << "\n# clients: " << clients
       << "\nscenario\tms\tarrivals\n";
  for (const Scenario& scenario : scenarios()) {
    std::vector<milliseconds> arrivals = arrivals_of(scenario, clients);
    std::sort(arrivals.begin(), arrivals.end());
    const auto bins = histogram_of(arrivals);
    const auto most = std::max_element(
        bins.begin(), bins.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    std::printf("  %-24s %6ld s %9zu %13ld %7ld %6ld %7ld %20d\n", scenario.name.c_str(),
                static_cast<long>(scenario.outage / 1s), arrivals.size(), at(arrivals, 0),
                at(arrivals, 0.5), at(arrivals, 0.9), at(arrivals, 1), most->second);
    for (const auto& [time, number] : bins) {
      file << scenario.name << '\t' << time.count() << '\t' << number << '\n';
    }
  }
  if (!data.empty() && !file.flush()) throw std::runtime_error("cannot write " + data);
}

}  // namespace redlatch::benchmark
