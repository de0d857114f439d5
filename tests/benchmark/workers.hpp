#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <redlatch/redlatch.hpp>

#include "bare_loop.hpp"
#include "contestants.hpp"
#include "window.hpp"

namespace redlatch::benchmark {

/// Where redlatch finds the server of a scenario.
std::string url_of(const Scenario& scenario, const test::RedisServer& server);

/// Bare hiredis with a connection of its own.
class Bare final : public Worker {
 public:
  /// `when_taken` is what it does, before it tries again, while the lock is held; what it
  /// throws ends the attempt.
  Bare(const Scenario& scenario, const test::RedisServer& server, std::string key,
       std::function<void()> when_taken);

  void acquire() override;
  void release() override;

 private:
  BareLoop loop_;
  std::string key_;
  std::function<void()> when_taken_;
  std::string token_{};
};

/// redlatch's `{ Lock lock(client, key); }`.
class Guard final : public Worker {
 public:
  Guard(std::shared_ptr<Client> client, std::string key);

  void acquire() override;
  void release() override;

 private:
  std::shared_ptr<Client> client_;
  std::string key_;
  std::optional<Lock> lock_{};
};

/// The same with any of its classes.
template <class Kind>
class Scoped final : public Worker {
 public:
  explicit Scoped(std::function<Kind()> take) : take_(std::move(take)) {}

  void acquire() override { lock_.emplace(take_()); }
  void release() override {
    if (!lock_->owns_lock()) throw std::runtime_error("lost the lock");
    lock_.reset();
  }

 private:
  std::function<Kind()> take_;
  std::optional<Kind> lock_{};
};

/// redlatch's `lock()` and `unlock()`, whose answer is waited for.
class Waiting final : public Worker {
 public:
  Waiting(std::shared_ptr<Client> client, const std::string& key);

  void acquire() override;
  void release() override;

 private:
  std::shared_ptr<Client> client_;
  Lock lock_;
};

}  // namespace redlatch::benchmark
