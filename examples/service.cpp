// The skeleton of a service that uses locks: workers that issue invoices, and housekeeping by one
// process of all. It starts also while the server of the locks is down, ends soon after SIGTERM,
// also while its threads wait for a lock, and runs until then. docs/services.md explains it.
//
//   service [DATABASE]

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "invoices.hpp"

namespace {

using namespace std::chrono_literals;

/// The host and the process, which `redis-cli` shows of a lock that is held.
std::string label() {
  std::array<char, HOST_NAME_MAX + 1> host{};
  ::gethostname(host.data(), host.size() - 1);
  return std::string(host.data()) + ':' + std::to_string(::getpid());
}

// Where the server is away, waits go on until it is back, or until a stop is requested.
redlatch::LockOptions lock_options() {
  return {.ttl = 2s, .fencing = true, .label = label(), .ride_out = true};
}

// A line as a whole, as there are several threads.
void print(const std::string& line) { std::cout << line + '\n' << std::flush; }
void log(const std::string& line) { std::clog << line + '\n'; }

/// Called on a thread of the client, one event at a time. Not for what happens all the time.
void log_event(const redlatch::Event& event) {
  using redlatch::EventKind;
  if (event.error || event.kind == EventKind::lost || event.kind == EventKind::connected ||
      event.kind == EventKind::disconnected) {
    std::ostringstream line;
    const bool is_of_a_lock = !event.key.empty();
    line << event.kind << ' ' << (is_of_a_lock ? event.key : event.server) << ": " << event.detail;
    log(line.str());
  }
}

/// Sleeps for this time, or until a stop is requested.
void pause(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock guard(mutex);
  std::condition_variable_any().wait_for(guard, stop, time, [] { return false; });
}

/// An error that may be over soon does not end the service. Any other needs a person, for example
/// to correct a password or a right.
template <class Task>
void attempt(Task task) {
  try {
    task();
  } catch (const redlatch::Error& error) {
    if (!error.transient()) throw;
    log(error.what());
  }
}

template <class Task>
void repeat(const std::stop_token& stop, Task task) {
  while (!stop.stop_requested()) {
    attempt(task);
    pause(100ms, stop);
  }
}

/// Two locks: the sequence of numbers, and the customer. Each process takes them in this order.
void issue_invoice(redlatch::Client& client, Invoices& invoices, const std::stop_token& stop) {
  redlatch::Lock sequence(client, "invoices", stop, lock_options());
  redlatch::Lock customer(client, "customer:7", stop, lock_options());
  if (!owns_all(sequence, customer)) return;  // a stop came first, or the first lock was lost
  const auto number = invoices.read(sequence.fencing_token());
  if (!number) return;                        // a later holder has been here
  pause(20ms, sequence.lost_token(stop));     // work that ends early at a loss or a stop
  if (!owns_all(sequence, customer)) return;  // before what cannot be undone
  if (invoices.issue(*number, sequence.fencing_token())) {
    print("invoice " + std::to_string(*number));
  }
}

/// Runs while this process is the leader. Another one takes over when it ends or is lost.
void lead(redlatch::Client& client, const std::stop_token& stop) {
  redlatch::Lock leadership(client, "leader", stop, lock_options());
  const std::stop_token end = leadership.lost_token(stop);
  while (leadership.owns_lock() && !stop.stop_requested()) {
    print("housekeeping");
    pause(500ms, end);
  }
}

void print(const redlatch::Metrics& metrics) {
  print("acquired " + std::to_string(metrics.acquired) + ", lost " + std::to_string(metrics.lost) +
        ", without an answer " + std::to_string(metrics.release_unknown));
}

}  // namespace

int main(int argc, char** argv) {
  const char* url = std::getenv("REDIS_URL");
  const std::string database = argc > 1 ? argv[1] : "invoices.db";

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before there are threads, which inherit it

  redlatch::ClientOptions options;
  options.client_name = "invoice-service";
  options.on_event = log_event;
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379", options);
  attempt([&] { client.ping(); });  // the waits ride out a server that is down
  std::vector<std::jthread> threads;
  threads.reserve(5);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&](const std::stop_token& stop) {
      Invoices invoices(database);
      repeat(stop, [&] { issue_invoice(client, invoices, stop); });
    });
  }
  threads.emplace_back(
      [&](const std::stop_token& stop) { repeat(stop, [&] { lead(client, stop); }); });

  int signal = 0;
  sigwait(&signals, &signal);
  for (std::jthread& thread : threads) thread.request_stop();  // all before the first is joined
  threads.clear();
  print(client.metrics());
  return 0;
}
