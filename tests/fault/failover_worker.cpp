#include "failover_worker.hpp"

#include <algorithm>
#include <chrono>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = FailoverClock;

constexpr auto look = 4ms;

/// What is the same for all locks and servers.
std::string_view without_place(std::string_view error) {
  const std::size_t server = error.find("\" on ");
  const std::size_t explanation = error.find(": ", server);
  return server == std::string_view::npos || explanation == std::string_view::npos
             ? error
             : error.substr(explanation + 2);
}

/// One thread of one role.
class Lane {
 public:
  Lane(const WorkerOptions& options, std::span<const Role> roles, std::size_t role, unsigned seed,
       History& history)
      : options_(options),
        role_(roles[role]),
        number_(static_cast<std::uint16_t>(role)),
        random_(seed),
        history_(history) {}

  void run(Client& client, const std::stop_token& over) {
    const LockOptions options{.ttl = role_.ttl,
                              .auto_renew = role_.renews,
                              .fencing = role_.fences,
                              .ride_out = options_.rides_out,
                              .durability = {.replicas = role_.replicas, .timeout = 1s}};
    const std::string key = key_of(role_.resource);
    switch (role_.kind) {
      case LockKind::lock:
        return repeat(Lock(client, key, std::defer_lock, options), over);
      case LockKind::fair:
        return repeat(FairLock(client, key, std::defer_lock, options), over);
      case LockKind::read:
        return repeat(ReadLock(client, key, std::defer_lock, options), over);
      case LockKind::write:
        return repeat(WriteLock(client, key, std::defer_lock, options), over);
      case LockKind::permit:
        return repeat(Permit(client, key, 2, std::defer_lock, options), over);
      case LockKind::recursive:
        return repeat(RecursiveLock(client, key, std::defer_lock, options), over);
      case LockKind::multi: {
        std::vector<std::string> keys;
        for (std::size_t i = 0; i < role_.resources; ++i) {
          keys.push_back(key_of(role_.resource + i));
        }
        return repeat(MultiLock(client, keys, std::defer_lock, options), over);
      }
    }
  }

 private:
  template <class L>
  void repeat(L lock, const std::stop_token& over) {
    while (!over.stop_requested() && !history_.is_full()) {
      if (acquire(lock, over)) hold(lock, over);
      pause();
    }
  }

  bool acquire(BasicLock& lock, const std::stop_token& over) {
    attempt_ = &history_.add();
    *attempt_ = {};
    const unsigned manner = random_() % 8;
    attempt_->role = number_;
    attempt_->worker = options_.number;
    attempt_->waits = manner > 0;
    attempt_->asked = Clock::now();
    Outcome outcome = Outcome::missed;
    try {
      const bool held = manner == 0   ? lock.try_lock()
                        : manner == 1 ? lock.try_lock_for(3s, over)
                                      : lock.lock(over);
      if (held) outcome = Outcome::held;
    } catch (const Error& error) {
      const std::string_view text = without_place(error.what());
      text.copy(attempt_->error.data(), attempt_->error.size() - 1);
      outcome = Outcome::failed;
    }
    attempt_->answered = Clock::now();
    if (outcome == Outcome::held) note_acquired(lock);
    attempt_->outcome = outcome;
    return outcome == Outcome::held;
  }
  void note_acquired(BasicLock& lock) {
    attempt_->lease = std::hash<std::string>()(lock.token());
    if (role_.fences) attempt_->fence = lock.fencing_token();
    last_look_ = attempt_->answered;
    attempt_->over = attempt_->answered;  // if there was no validity left
    note(lock);
    ++history_.shared().acquired;
  }

  /// Most hold for a short time, some until they need renewals or lose the lock.
  void hold(BasicLock& lock, const std::stop_token& over) {
    const auto most = random_() % 6 == 0 ? role_.max_hold * 8 : role_.max_hold;
    const auto time = std::chrono::milliseconds(random_() % static_cast<unsigned>(most.count()));
    const Moment end = attempt_->answered + time;
    bool owned = claim(lock);
    while (owned && Clock::now() < end && !over.stop_requested()) {
      std::this_thread::sleep_for(std::min<Clock::duration>(look, end - Clock::now()));
      owned = claim(lock);
    }
    owned ? release(lock) : lose(lock);
  }
  bool claim(const BasicLock& lock) {
    const Moment now = Clock::now();
    if (!lock.owns_lock()) return false;
    // Its validity may have ended right behind the first question.
    if (!note(lock) && now < until() + look) return true;
    attempt_->claimed_until = now;
    last_look_ = now;
    return true;
  }
  /// Reads until when it is certain, again if this thread was interrupted meanwhile. False if that
  /// is over.
  bool note(const BasicLock& lock) {
    Moment before{};
    Moment seen{};
    std::chrono::milliseconds remaining{};
    do {
      before = Clock::now();
      remaining = lock.remaining();
      seen = Clock::now();
    } while (seen - before > reading_error / 4);
    if (remaining == 0ms) return false;
    note(before + remaining, seen);
    return true;
  }
  void note(Moment until, Moment seen) {
    auto& all = attempt_->confirmations;
    std::size_t& count = attempt_->confirmed;
    if (count > 0 && until < first_reading_ + reading_error) {
      all[count - 1].until = std::max(all[count - 1].until, until);
      return;
    }
    first_reading_ = until;
    if (count < all.size()) ++count;
    all[count - 1] = {until, last_look_, seen};
  }

  void release(BasicLock& lock) {
    const Unlock outcome = lock.unlock();
    attempt_->over = Clock::now();
    attempt_->end = outcome == Unlock::released ? End::released
                    : outcome == Unlock::lost   ? lost_at_release()
                                                : End::unknown;
  }
  End lost_at_release() const { return attempt_->over < until() ? End::lost_unseen : End::ran_out; }
  void lose(BasicLock& lock) {
    attempt_->over = Clock::now();
    const auto notice = std::max<Clock::duration>(2ms, role_.ttl / 20);
    attempt_->end = attempt_->over < until() - notice ? End::lost : End::ran_out;
    if (options_.flaw == Flaw::claims_longer) {
      std::this_thread::sleep_for(role_.ttl / 2);
      attempt_->claimed_until = attempt_->over = Clock::now();
    }
    lock.unlock();
  }
  Moment until() const {
    return attempt_->confirmed == 0 ? Moment()
                                    : attempt_->confirmations[attempt_->confirmed - 1].until;
  }
  /// Longer after an error, so that a server that is away is not asked all the time.
  void pause() {
    const auto most = std::chrono::microseconds(
        attempt_->outcome == Outcome::failed ? std::max(40ms, role_.max_pause) : role_.max_pause);
    std::this_thread::sleep_for(
        std::chrono::microseconds(random_() % static_cast<unsigned>(most.count())));
  }

  const WorkerOptions& options_;
  const Role& role_;
  std::uint16_t number_;
  std::mt19937 random_;
  History& history_;
  Attempt* attempt_ = nullptr;
  Moment last_look_{};
  Moment first_reading_{};  // of the last confirmation
};

}  // namespace

std::string key_of(std::size_t resource) { return "{failover}:" + std::to_string(resource); }

void work(const WorkerOptions& options, std::span<const Role> roles, History& history) {
  options.set_address(history.shared().address);
  Client client(options.url, options.client);
  std::stop_source over;
  std::vector<std::jthread> threads;
  for (std::size_t role = 0; role < roles.size(); ++role) {
    for (int i = 0; i < roles[role].threads; ++i) {
      threads.emplace_back([&, role, seed = options.seed + 1000 * threads.size()] {
        Lane(options, roles, role, static_cast<unsigned>(seed), history)
            .run(client, over.get_token());
      });
    }
  }
  while (!history.shared().over) {
    options.set_address(history.shared().address);
    std::this_thread::sleep_for(2ms);
  }
  over.request_stop();
}

}  // namespace redlatch::test
