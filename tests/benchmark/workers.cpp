#include "workers.hpp"

#include <stdexcept>
#include <utility>

namespace redlatch::benchmark {

std::string url_of(const Scenario& scenario, const test::RedisServer& server) {
  return scenario.unix_socket ? server.unix_url() : server.url();
}

Bare::Bare(const Scenario& scenario, const test::RedisServer& server, std::string key,
           std::function<void()> when_taken)
    : loop_(scenario.unix_socket ? BareLoop(server.socket())
                                 : BareLoop("127.0.0.1", server.port())),
      key_(std::move(key)),
      when_taken_(std::move(when_taken)) {}

void Bare::acquire() {
  token_ = make_token();  // a new one for each lease, as it has to be
  while (!loop_.acquire(key_, token_)) when_taken_();
}

void Bare::release() {
  if (!loop_.release(key_, token_)) throw std::runtime_error("bare hiredis: lost the lock");
}

Guard::Guard(std::shared_ptr<Client> client, std::string key)
    : client_(std::move(client)), key_(std::move(key)) {}

void Guard::acquire() { lock_.emplace(*client_, key_); }

void Guard::release() {
  if (!lock_->owns_lock()) throw std::runtime_error("guard: lost the lock");
  lock_.reset();
}

Waiting::Waiting(std::shared_ptr<Client> client, const std::string& key)
    : client_(std::move(client)), lock_(*client_, key, std::defer_lock) {}

void Waiting::acquire() { lock_.lock(); }

void Waiting::release() {
  if (lock_.unlock() != Unlock::released) throw std::runtime_error("unlock: lost the lock");
}

}  // namespace redlatch::benchmark
