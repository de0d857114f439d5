#include "contestants.hpp"

#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <redlatch/redlatch.hpp>

#include "bare_loop.hpp"

namespace redlatch::benchmark {
namespace {

std::string url_of(const Scenario& scenario, const test::RedisServer& server) {
  return scenario.unix_socket ? server.unix_url() : server.url();
}

std::string key_of(int thread) { return "bench:" + std::to_string(thread); }

class Bare final : public Worker {
 public:
  Bare(BareLoop loop, std::string key) : loop_(std::move(loop)), key_(std::move(key)) {}

  void acquire() override {
    token_ = make_token();  // a new one for each lease, as it has to be
    if (!loop_.acquire(key_, token_)) throw std::runtime_error("bare hiredis: no lock");
  }
  void release() override {
    if (!loop_.release(key_, token_)) throw std::runtime_error("bare hiredis: lost the lock");
  }

 private:
  BareLoop loop_;
  std::string key_;
  std::string token_{};
};

class Guard final : public Worker {
 public:
  Guard(std::shared_ptr<Client> client, std::string key)
      : client_(std::move(client)), key_(std::move(key)) {}

  void acquire() override { lock_.emplace(*client_, key_); }
  void release() override {
    if (!lock_->owns_lock()) throw std::runtime_error("guard: lost the lock");
    lock_.reset();
  }

 private:
  std::shared_ptr<Client> client_;
  std::string key_;
  std::optional<Lock> lock_{};
};

class Waiting final : public Worker {
 public:
  Waiting(std::shared_ptr<Client> client, const std::string& key)
      : client_(std::move(client)), lock_(*client_, key, std::defer_lock) {}

  void acquire() override { lock_.lock(); }
  void release() override {
    if (lock_.unlock() != Unlock::released) throw std::runtime_error("unlock: lost the lock");
  }

 private:
  std::shared_ptr<Client> client_;
  Lock lock_;
};

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

}  // namespace

std::string Scenario::title() const {
  return suite + ", " + transport() + ", " + std::to_string(threads) +
         (threads == 1 ? " thread, " : " threads, ") + cores();
}

Contestant bare() {
  return {baseline, [](const Scenario& scenario, const Setting& setting) {
            Team team;
            for (int i = 0; i < scenario.threads; ++i) {
              auto loop = scenario.unix_socket ? BareLoop(setting.server.socket())
                                               : BareLoop("127.0.0.1", setting.server.port());
              team.push_back(std::make_unique<Bare>(std::move(loop), key_of(i)));
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
