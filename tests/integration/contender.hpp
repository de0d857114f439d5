#pragma once

#include <atomic>
#include <cstdint>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "fixture.hpp"

namespace redlatch::test {

/// A thread that waits for "job" with a client of its own, as another process would, and holds it
/// until it is told to go on. `What` is what it takes to make one, besides the key.
template <class L>
class ContenderOf {
 public:
  template <class... What>
  explicit ContenderOf(Client client, LockOptions options = long_lease, What... what)
      : client_(std::move(client)),
        lock(client_, "job", std::move(what)..., std::defer_lock, std::move(options)) {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      try {
        held = lock.lock(stop);
      } catch (const Error&) {
        failed = true;
      }
      ended = !held;
      eventually([&] { return goes_on.load(); }, 60s);
      if (held) lock.unlock();
      held = false;
    });
  }

  Client& client() noexcept { return client_; }
  /// Until it has been told that it has to wait. The server may show its entry earlier; but an
  /// outage before the first answer is thrown, and only one behind it is ridden out.
  bool is_told_to_wait() const {
    return eventually([&] { return client_.metrics().contended == 1; });
  }
  bool has_it() const {
    return eventually([&] { return held.load(); }, 30s);
  }
  void cancel() { thread_.request_stop(); }
  bool is_cancelled() const {
    return eventually([&] { return ended.load(); }) && !failed;
  }
  void ends() {
    goes_on = true;
    thread_.join();
  }
  ~ContenderOf() {
    goes_on = true;
    thread_.request_stop();
  }
  ContenderOf(const ContenderOf&) = delete;
  ContenderOf& operator=(const ContenderOf&) = delete;

 private:
  Client client_;

 public:
  L lock;
  std::atomic<bool> held = false;
  std::atomic<bool> ended = false;
  std::atomic<bool> failed = false;
  std::atomic<bool> goes_on = false;

 private:
  std::jthread thread_{};
};

using Contender = ContenderOf<Lock>;

/// A look at the queue for "job".
class QueueTest : public ServerTest {
 protected:
  Client another() const { return Client(server.url(), patient()); }

  std::int64_t queued() { return raw.command({"LLEN", queue}).integer; }
  bool is_queued(std::int64_t count) {
    return eventually([&] { return queued() == count; });
  }
  bool is_empty() {
    return eventually([&] { return queued() == 0 && !raw.exists("job"); });
  }
  /// What is in the queue.
  struct Entry {
    std::int64_t expiry = 0;
    std::string ttl{};
    std::string channel{};
    std::string value{};
  };
  Entry entry(int index) {
    std::istringstream words(raw.command({"LINDEX", queue, std::to_string(index)}).text);
    Entry entry;
    words >> entry.expiry >> entry.ttl >> entry.channel;
    std::getline(words >> std::ws, entry.value);
    return entry;
  }

  const std::string queue = "job:redlatch:queue:{job}";
};

/// The same where "job" is held.
class ServerQueueTest : public QueueTest {
 protected:
  Lock holder{client, "job", long_lease};
};

}  // namespace redlatch::test
