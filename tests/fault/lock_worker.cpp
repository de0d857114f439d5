#include "lock_worker.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = HistoryClock;

constexpr auto look = 4ms;
constexpr std::int64_t permits = 2;

/// Of a ttl, counted from when its command was sent: the rest is for clocks that drift.
constexpr auto certain_part(std::chrono::milliseconds ttl) { return ttl - ttl / 100 - 2ms; }

/// What is the same for all locks and servers.
std::string_view without_place(std::string_view error) {
  const std::size_t server = error.find("\" on ");
  const std::size_t explanation = error.find(": ", server);
  return server == std::string_view::npos || explanation == std::string_view::npos
             ? error
             : error.substr(explanation + 2);
}

/// The clients that all threads of a worker share.
struct Nodes {
  explicit Nodes(const WorkerOptions& options) {
    if (!options.quorum.empty()) {
      quorum.emplace(options.quorum, options.client);
      return;
    }
    databases[0].emplace(options.url, options.client.client);
    if (!options.second_url.empty())
      databases[1].emplace(options.second_url, options.client.client);
  }

  /// Whether they have what a role needs.
  bool can(const Role& role, bool scripting) const {
    if (role.kind == LockKind::redlock) return quorum.has_value();
    return databases.at(static_cast<std::size_t>(role.database)).has_value() &&
           (scripting || (role.kind == LockKind::lock && (role.varies || !role.fences)));
  }
  Client& client_of(const Role& role) {
    return *databases.at(static_cast<std::size_t>(role.database));
  }

  std::array<std::optional<Client>, 2> databases{};
  std::optional<Quorum> quorum{};
};

/// One thread of one role.
class Lane {
 public:
  Lane(const WorkerOptions& options, const Role& role, std::uint16_t number, std::uint64_t thread,
       History& history)
      : options_(options),
        role_(role),
        number_(number),
        random_(static_cast<unsigned>(options.seed + 1000 * thread)),
        history_(history) {
    if (role.kind != LockKind::recursive) return;
    owner_ = *role.owner == '\0' ? 1 + thread + 1000ULL * options.number
                                 : std::hash<std::string_view>()(role.owner);
  }

  void run(Nodes& nodes, const std::stop_token& over) {
    while (!over.stop_requested() && !history_.is_full()) {
      choose();
      use(nodes, over);
    }
  }

 private:
  static constexpr unsigned no_limit = 1'000'000'000;

  bool once_in(unsigned times) { return random_() % times == 0; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[random_() % values.size()];
  }
  /// Held for so long that what arrives late finds it still held, and seldom changed.
  bool is_long() const { return role_.max_hold >= 1s; }
  /// Some are longer than all usual times, so that what arrives late may find the lock held. None
  /// is too short for the way to the server: a waiter has to refresh its entry in the queue.
  std::chrono::milliseconds any_ttl() {
    constexpr int round_trips = 8;
    if (once_in(is_long() ? 2 : 6)) return 60s;
    return std::max(round_trips * options_.round_trip,
                    std::min(role_.ttl, one_of({100ms, 300ms, 1000ms})));
  }

  /// The options of the next acquisitions, and how many these are.
  void choose() {
    lock_options_ = {.ttl = role_.ttl,
                     .auto_renew = role_.renews,
                     .fencing = role_.fences,
                     .ride_out = options_.rides_out,
                     .durability = {.replicas = role_.replicas, .timeout = 1s}};
    acquisitions_ = no_limit;
    if (!role_.varies) return;
    acquisitions_ = 1 + static_cast<unsigned>(random_() % 8);
    lock_options_.ttl = any_ttl();
    lock_options_.auto_renew = !once_in(4);
    lock_options_.fencing = role_.fences && options_.client.client.scripting && once_in(2);
    lock_options_.ride_out = once_in(4);
    if (once_in(8)) lock_options_.max_hold = one_of({50ms, 2000ms});
    if (once_in(8)) lock_options_.label = "torture";
    if (!once_in(8)) lock_options_.durability = {};
  }

  void use(Nodes& nodes, const std::stop_token& over) {
    const std::string key = key_of(role_.key);
    const LockOptions& options = lock_options_;
    if (role_.kind == LockKind::redlock) {
      return repeat(Redlock(*nodes.quorum, key, std::defer_lock, options), over);
    }
    Client& client = nodes.client_of(role_);
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
        return repeat(Permit(client, key, permits, std::defer_lock, options), over);
      case LockKind::recursive: {
        const std::function<RecursiveLock()> make = [&] {
          return *role_.owner == '\0'
                     ? RecursiveLock(client, key, std::defer_lock, options)
                     : RecursiveLock(client, key, Owner{role_.owner}, std::defer_lock, options);
        };
        return repeat(make(), over, make);
      }
      case LockKind::multi: {
        std::vector<std::string> keys;
        for (std::size_t i = 0; i < role_.resources; ++i) keys.push_back(key_of(role_.key + i));
        return repeat(MultiLock(client, keys, std::defer_lock, options), over);
      }
      case LockKind::redlock:
        return;
    }
  }

  /// `again` makes another lock of the same owner.
  template <class L>
  void repeat(L lock, const std::stop_token& over, const std::function<L()>& again = {}) {
    for (; acquisitions_ > 0 && !over.stop_requested() && !history_.is_full(); --acquisitions_) {
      const bool held = acquire(lock, over);
      if (held && again && role_.varies && once_in(3)) {
        hold_both(lock, again(), over);
      } else if (held) {
        hold(lock, over);
      }
      pause();
    }
  }
  template <class L>
  void hold_both(L& lock, L second, const std::stop_token& over) {
    Lane other(*this);
    other.random_.seed(static_cast<unsigned>(random_()));
    if (!other.acquire(second, over)) return hold(lock, over);
    const bool in_order = once_in(2);
    if (in_order) hold(lock, over);
    other.hold(second, over);
    if (!in_order) hold(lock, over);
  }

  bool acquire(BasicLock& lock, const std::stop_token& over) {
    const unsigned manner = random_() % 8;
    ttl_ = lock_options_.ttl;
    former_ttl_ = {};
    changed_ = {};
    may_end_ = Moment::max();
    attempt_ = &history_.add();
    *attempt_ = {};
    attempt_->role = number_;
    attempt_->worker = options_.number;
    attempt_->waits = manner > 0;
    attempt_->may_starve = role_.may_starve || !options_.client.client.scripting;
    attempt_->ttl = ttl_;
    attempt_->replicas = lock_options_.durability.replicas;
    attempt_->owner = owner_;
    attempt_->round_trip = options_.round_trip;
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
    if (lock_options_.fencing) attempt_->fence = lock.fencing_token();
    last_look_ = attempt_->answered;
    attempt_->over = attempt_->answered;  // if there was no validity left
    note(lock);
    ++history_.shared().acquired;
  }

  /// Most hold for a short time, some until they need renewals or lose the lock.
  void hold(BasicLock& lock, const std::stop_token& over) {
    const Moment end = attempt_->answered + hold_time();
    bool owned = claim(lock);
    while (owned && Clock::now() < end && !over.stop_requested()) {
      std::this_thread::sleep_for(std::min<Clock::duration>(look, end - Clock::now()));
      owned = claim(lock);
      if (owned && role_.varies && once_in(ttl_ >= 10s ? 200 : is_long() ? 100 : 20)) {
        change(lock);
        owned = claim(lock);
      }
    }
    owned ? release(lock) : lose(lock);
  }
  std::chrono::milliseconds hold_time() {
    auto most = once_in(6) ? role_.max_hold * 8 : role_.max_hold;
    if (role_.varies) {
      if (ttl_ < 500ms && once_in(4)) return ttl_ + 50ms;  // until it ends, where none renews it
      most = is_long() ? role_.max_hold : one_of({2ms, 5ms, 20ms, 50ms, role_.max_hold});
    }
    return std::chrono::milliseconds(random_() % static_cast<unsigned>(most.count()));
  }
  /// To a longer or shorter ttl, or asks for it. Without an answer, the longer one may count.
  void change(BasicLock& lock) {
    const std::chrono::milliseconds before = ttl_;
    const std::chrono::milliseconds after = any_ttl();
    try {
      if (once_in(3)) {
        static_cast<void>(lock.verify());
        return;
      }
      attempt_->ttl = std::max(attempt_->ttl, after);
      ttl_ = std::max(before, after);
      if (after < before) may_end_ = Clock::now() + certain_part(after);
      if (!lock.extend(after)) return;
      ttl_ = after;
      former_ttl_ = before;
      changed_ = Clock::now();
      first_reading_ = {};  // another validity, though it may end at about the same time
    } catch (const Error&) {
      // Held for as long as that is certain.
    }
  }
  bool claim(const BasicLock& lock) {
    const Moment now = Clock::now();
    if (!lock.owns_lock()) return false;
    if (!note(lock)) {
      // Less is left than `remaining()` counts.
      const Moment end = attempt_->confirmed == 0 ? attempt_->answered : until();
      if (now < end + look) return true;
      // It was renewed, and has ended, since the first question.
      if (!lock.owns_lock()) return false;
    }
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
    if (until > may_end_ + reading_error) may_end_ = Moment::max();
    auto& all = attempt_->confirmations;
    std::size_t& count = attempt_->confirmed;
    if (count > 0 && std::chrono::abs(until - first_reading_) < reading_error) {
      all[count - 1].until = std::max(all[count - 1].until, until);
      return;
    }
    first_reading_ = until;
    if (count < all.size()) ++count;
    // A renewal that was under way may have set the former ttl behind the extension.
    const bool is_former = until - certain_part(former_ttl_) < changed_;
    all[count - 1] = {until, last_look_, seen, is_former ? std::max(ttl_, former_ttl_) : ttl_};
  }

  void release(BasicLock& lock) {
    if (role_.varies && once_in(4)) return leave(lock);
    const Unlock outcome = lock.unlock();
    attempt_->over = Clock::now();
    attempt_->end = outcome == Unlock::released ? End::released
                    : outcome == Unlock::lost   ? lost_at_release()
                                                : End::unknown;
  }
  /// As at the end of a scope. There is no lock left to go on with.
  void leave(BasicLock& lock) {
    const BasicLock gone(std::move(lock));
    attempt_->over = Clock::now();
    attempt_->end = End::left;
    acquisitions_ = 1;
  }
  End lost_at_release() const { return attempt_->over < until() ? End::lost_unseen : End::ran_out; }
  void lose(BasicLock& lock) {
    attempt_->over = Clock::now();
    const auto notice = std::max<Clock::duration>(2ms, ttl_ / 20);
    attempt_->end = attempt_->over < until() - notice ? End::lost : End::ran_out;
    if (options_.flaw == Flaw::claims_longer) {
      std::this_thread::sleep_for(role_.ttl / 2);
      attempt_->claimed_until = attempt_->over = Clock::now();
    }
    lock.unlock();
  }
  Moment until() const {
    return attempt_->confirmed == 0
               ? Moment()
               : std::min(attempt_->confirmations[attempt_->confirmed - 1].until, may_end_);
  }
  /// Longer after an error, so that a server that is away is not asked all the time.
  void pause() {
    auto most = std::chrono::microseconds(
        attempt_->outcome == Outcome::failed ? std::max(40ms, role_.max_pause) : role_.max_pause);
    if (role_.varies && once_in(8)) most = 500ms;
    std::this_thread::sleep_for(
        std::chrono::microseconds(random_() % static_cast<unsigned>(most.count())));
  }

  const WorkerOptions& options_;
  const Role& role_;
  std::uint16_t number_;  // of the role
  std::mt19937 random_;
  History& history_;
  std::uint64_t owner_ = 0;
  LockOptions lock_options_{};
  unsigned acquisitions_ = 0;  // that are left with these options
  Attempt* attempt_ = nullptr;
  std::chrono::milliseconds ttl_{};         // of the lease
  std::chrono::milliseconds former_ttl_{};  // before `extend` has changed it
  Moment changed_{};                        // by the answer to that
  Moment last_look_{};
  Moment first_reading_{};          // of the last confirmation
  Moment may_end_ = Moment::max();  // by an extension to less that may be carried out
};

}  // namespace

void work(const WorkerOptions& options, std::span<const Role> roles, History& history) {
  options.set_address(history.shared().address);
  Nodes nodes(options);
  std::stop_source over;
  std::vector<std::jthread> threads;
  for (std::size_t role = 0; role < roles.size(); ++role) {
    if (!nodes.can(roles[role], options.client.client.scripting)) continue;
    for (int i = 0; i < roles[role].threads; ++i) {
      threads.emplace_back([&, role, thread = threads.size()] {
        Lane(options, roles[role], static_cast<std::uint16_t>(role), thread, history)
            .run(nodes, over.get_token());
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
