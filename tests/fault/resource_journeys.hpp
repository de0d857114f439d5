#pragma once

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "resource_faults.hpp"
#include "resource_sweep.hpp"

namespace redlatch::test {

using namespace std::chrono_literals;

/// A lease that no test waits for.
inline const LockOptions long_lease{.ttl = 60s};

/// An operation has both, and ends by then on a machine that is not all too busy.
inline ClientOptions usual_options() { return {.connect_timeout = 3s, .command_timeout = 3s}; }

/// A server by way of a Sentinel, or as a cluster.
inline std::unique_ptr<RedisServer> server_with(const char* variable) {
  ::setenv(variable, "1", 1);
  auto server = std::make_unique<RedisServer>();
  ::unsetenv(variable);
  return server;
}

/// The servers of a journey.
class Site {
 public:
  explicit Site(std::vector<std::unique_ptr<RedisServer>> servers) : servers_(std::move(servers)) {
    for (const auto& one : servers_) raw_.emplace_back(one->socket());
  }
  explicit Site(std::unique_ptr<RedisServer> server) {
    servers_.push_back(std::move(server));
    raw_.emplace_back(servers_.front()->socket());
  }

  std::string url() const { return servers_.front()->url(); }
  std::vector<std::string> urls() const {
    std::vector<std::string> urls;
    for (const auto& one : servers_) urls.push_back(one->url());
    return urls;
  }
  RedisServer& server() const { return *servers_.front(); }
  RawClient& raw() { return raw_.front(); }
  bool is_free() {
    bool held = false;
    for (RawClient& one : raw_) held |= one.exists("job");
    return !held;
  }

 private:
  std::vector<std::unique_ptr<RedisServer>> servers_{};
  std::vector<RawClient> raw_{};
};

inline Site one_server() { return Site(std::make_unique<RedisServer>()); }
inline Site three_servers() {
  std::vector<std::unique_ptr<RedisServer>> servers;
  for (int i = 0; i < 3; ++i) servers.push_back(std::make_unique<RedisServer>());
  return Site(std::move(servers));
}

/// A client or a quorum, with their lock class.
struct OfClient {
  using Owner = Client;
  using AnyLock = Lock;
  static Client make(Site& site, const ClientOptions& with) { return Client(site.url(), with); }
};
struct OfQuorum {
  using Owner = Quorum;
  using AnyLock = Redlock;
  static Quorum make(Site& site, const ClientOptions& with) {
    return Quorum(site.urls(), {.client = with, .server_timeout = 1s});
  }
};

template <class Of>
class JourneyOf : public Journey {
 public:
  using Owner = typename Of::Owner;
  using AnyLock = typename Of::AnyLock;

  JourneyOf(Site& at, ClientOptions given) : site(at), with(std::move(given)) {}

  bool leaves_nothing() override { return site.is_free(); }
  bool works_again() override {
    if (!owner) owner.emplace(Of::make(site, with));
    AnyLock lock(*owner, "job", long_lease);
    return lock.owns_lock() && lock.unlock() == Unlock::released;
  }

 protected:
  void begin() { owner.emplace(Of::make(site, with)); }
  void warm_up() {
    begin();
    AnyLock(*owner, "job", long_lease).unlock();
  }

  Site& site;
  const ClientOptions with;
  std::optional<Owner> owner{};
};

/// Acquires with a client that is new, and releases.
template <class Of>
class FirstLock : public JourneyOf<Of> {
 public:
  using JourneyOf<Of>::JourneyOf;

  void act() override {
    this->begin();
    typename Of::AnyLock lock(*this->owner, "job", long_lease);
    static_cast<void>(lock.unlock());
  }
};

/// With connections that are there.
template <class Of>
class NextLock : public JourneyOf<Of> {
 public:
  NextLock(Site& at, const ClientOptions& given) : JourneyOf<Of>(at, given) { this->warm_up(); }

  void act() override {
    typename Of::AnyLock lock(*this->owner, "job", long_lease);
    static_cast<void>(lock.unlock());
  }
};

/// Releases at the end of a scope.
template <class Of>
class ScopeExit : public JourneyOf<Of> {
 public:
  ScopeExit(Site& at, const ClientOptions& given) : JourneyOf<Of>(at, given) { this->warm_up(); }

  void act() override { const typename Of::AnyLock lock(*this->owner, "job", long_lease); }
};

template <class Of>
class Extension : public JourneyOf<Of> {
 public:
  Extension(Site& at, const ClientOptions& given) : JourneyOf<Of>(at, given) {
    this->begin();
    lock_.emplace(*this->owner, "job", long_lease);
  }

  void act() override {
    if (!lock_->extend(30s)) throw std::runtime_error("not extended");
    if (!lock_->verify()) throw std::runtime_error("not ours");
    static_cast<void>(lock_->unlock());
  }
  bool leaves_nothing() override {
    lock_.reset();
    return this->site.is_free();
  }

 private:
  std::optional<typename Of::AnyLock> lock_{};
};

/// Waits for a lock that another client has.
template <class Of>
class Wait : public JourneyOf<Of> {
 public:
  Wait(Site& at, const ClientOptions& given)
      : JourneyOf<Of>(at, given),
        raw_(at.server().socket()),
        holder_(Of::make(at, usual_options())) {
    this->warm_up();
    held_.emplace(holder_, "job", long_lease);
    // The waiter of a quorum has no entry.
    releaser_ = std::thread([this] {
      const OtherCalls others;
      eventually([&] { return is_over_ || is_begun_; });
      eventually([&] { return is_over_ || raw_.exists("job:redlatch:queue:{job}"); }, 20ms);
      held_.reset();
    });
  }
  ~Wait() override {
    is_over_ = true;
    releaser_.join();
  }

  void act() override {
    const struct Over {
      std::atomic<bool>& is_over;
      ~Over() { is_over = true; }
    } over{is_over_};
    is_begun_ = true;
    typename Of::AnyLock lock(*this->owner, "job", std::defer_lock, long_lease);
    if (!lock.try_lock_for(4s)) throw std::runtime_error("not acquired");
    static_cast<void>(lock.unlock());
  }

 private:
  RawClient raw_;
  typename Of::Owner holder_;
  std::optional<typename Of::AnyLock> held_{};
  std::atomic<bool> is_begun_ = false;
  std::atomic<bool> is_over_ = false;
  std::thread releaser_{};
};

/// Waits for a lock that another thread of the same client has.
class HandOver : public JourneyOf<OfClient> {
 public:
  HandOver(Site& at, const ClientOptions& given) : JourneyOf(at, given) {
    warm_up();
    held_.emplace(*owner, "job", long_lease);
    waiter_ = std::jthread([this](const std::stop_token& stop) {
      eventually([&] { return is_begun_ || stop.stop_requested(); }, 10s);
      try {
        Lock lock(*owner, "job", std::defer_lock, long_lease);
        if (!lock.try_lock_for(4s)) throw std::runtime_error("not acquired");
        static_cast<void>(lock.unlock());
      } catch (...) {
        failure_ = std::current_exception();
      }
      is_over_ = true;
    });
  }

  void act() override {
    is_begun_ = true;
    eventually([&] { return is_over_ || owner->metrics().waiting > 0; }, 2s);
    held_->unlock();
    waiter_.join();
    if (failure_) std::rethrow_exception(failure_);
  }
  bool leaves_nothing() override {
    held_.reset();
    return site.is_free();
  }

 private:
  std::optional<Lock> held_{};
  std::exception_ptr failure_{};
  std::atomic<bool> is_begun_ = false;
  std::atomic<bool> is_over_ = false;
  std::jthread waiter_{};
};

/// The server does not answer in time, and carries the acquisition out later.
class SilentServer : public JourneyOf<OfClient> {
 public:
  SilentServer(Site& at, const ClientOptions& /*given*/)
      : JourneyOf(at, {.connect_timeout = 3s, .command_timeout = 100ms}) {
    warm_up();
    site.server().pause();
  }
  ~SilentServer() override { site.server().resume(); }

  void act() override { const Lock lock(*owner, "job", long_lease); }
  bool leaves_nothing() override {
    site.server().resume();
    return site.is_free();
  }
};

/// A lock is renewed, and not lost.
template <class Of>
class Renewal : public JourneyOf<Of> {
 public:
  Renewal(Site& at, const ClientOptions& given) : JourneyOf<Of>(at, given) {
    this->begin();
    lock_.emplace(*this->owner, "job", LockOptions{.ttl = 1800ms});
  }

  void act() override {
    int last = 2;
    const auto renewed = [&] { return static_cast<int>(this->owner->metrics().renewed); };
    bool landed = false;
    eventually(
        [&] {
          if (!std::exchange(landed, ArmedFault::landed() > 0) && landed) last = renewed() + 1;
          return renewed() >= last || !lock_->owns_lock();
        },
        8s);
    ArmedFault::disarm();
    if (!lock_->verify()) throw std::runtime_error("lost");
    if (renewed() < last) throw std::runtime_error("not renewed");
    static_cast<void>(lock_->unlock());
  }
  bool leaves_nothing() override {
    lock_.reset();
    return this->site.is_free();
  }

 private:
  std::optional<typename Of::AnyLock> lock_{};
};

template <class Kind>
JourneyKind journey(const char* name, Site& site, const ClientOptions& with = usual_options()) {
  return {name, [&site, with] { return std::make_unique<Kind>(site, with); }};
}

/// What takes no time by itself.
template <class Of>
std::vector<JourneyKind> quick_journeys(Site& site, const ClientOptions& with = usual_options()) {
  return {journey<FirstLock<Of>>("first lock", site, with),
          journey<NextLock<Of>>("next lock", site, with),
          journey<ScopeExit<Of>>("end of a scope", site, with),
          journey<Extension<Of>>("extension", site, with), journey<Wait<Of>>("wait", site, with)};
}

/// By the name of a place, of which there is a server, or a few.
inline Site site_of(const std::string& place) {
  if (place == "Quorum") return three_servers();
  if (place == "Sentinel") return Site(server_with("REDLATCH_TEST_SENTINEL"));
  if (place == "Cluster") return Site(server_with("REDLATCH_TEST_CLUSTER"));
  if (place == "Tls") return Site(std::make_unique<RedisServer>(RedisServer::WithTls{}));
  return one_server();
}
inline std::vector<JourneyKind> journeys_of(const std::string& place, Site& site,
                                            const ClientOptions& with = usual_options()) {
  if (place == "Quorum") return quick_journeys<OfQuorum>(site, with);
  std::vector<JourneyKind> journeys = quick_journeys<OfClient>(site, with);
  journeys.push_back(journey<HandOver>("hand-over", site, with));
  return journeys;
}

}  // namespace redlatch::test
