// Threads share one connection, their commands go out as one batch, and it breaks at every byte of
// what they send or receive. Half of the threads leave their guarded sections without waiting.
// Whatever the byte: no thread gets a wrong answer or misses one that had come, nothing stays held,
// and no key of another client is touched.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "campaign.hpp"
#include "eventually.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace batch_cut_test {

using namespace std::chrono_literals;

constexpr auto request = Proxy::Direction::request;
constexpr auto reply = Proxy::Direction::reply;
constexpr std::size_t threads = 4;

/// What a thread was told, by the call.
enum class Told { nothing, yes, no, too_late, broken };

/// One of the threads that share the connection.
struct Visitor {
  explicit Visitor(const std::string& socket) : raw(socket) {}

  void reset() {
    id = 0;
    asks = false;
    gone = false;
    first = second = unlocked = Told::nothing;
  }
  /// It has nothing more to say until it is answered.
  bool settled() const { return gone || (asks && sleeps(id)); }
  bool leaves_by_scope() const { return number % 2 == 0; }
  /// Its first request may be carried out by a slow server at any time, until it is undone.
  bool doubted() const { return first == Told::too_late || first == Told::broken; }

  std::size_t number = 0;
  std::string key{};
  RawClient raw;
  std::atomic<pid_t> id{0};
  std::atomic<bool> asks{false};
  std::atomic<bool> gone{false};
  Told first = Told::nothing;     // section
  Told second = Told::nothing;    // of those who leave by scope, behind the release of the first
  Told unlocked = Told::nothing;  // of the others
};

class BatchLane final : public Lane {
 public:
  BatchLane(const RedisServer& its_server, const Campaign& its_campaign, Tally& its_tally,
            char its_name);

 protected:
  bool survive(const Proxy::Fault& fault) override;

 private:
  using Gate = std::barrier<>;

  void visit(Visitor& visitor, Gate& gate);
  Told acquire(Lock& lock, Visitor& visitor);
  void unlock(Lock& lock, Visitor& visitor);
  std::thread occupy();
  void wait_for_the_batch();
  bool all_came() const;
  bool all_were_told_yes() const;
  bool check_delivery();
  Told told(const std::vector<Command>& commands, std::size_t at) const;

  std::vector<std::unique_ptr<Visitor>> visitors_{};
  std::unique_ptr<Client> client_{};
  std::size_t connections_ = 0;  // that there had been when the round began
};

BatchLane::BatchLane(const RedisServer& its_server, const Campaign& its_campaign, Tally& its_tally,
                     char its_name)
    : Lane(its_server, its_campaign, its_tally, its_name) {
  for (std::size_t i = 0; i < threads; ++i) {
    visitors_.push_back(std::make_unique<Visitor>(server.socket()));
    visitors_.back()->number = i;
    visitors_.back()->key = std::string(1, name) + std::to_string(i);
  }
}

bool BatchLane::survive(const Proxy::Fault& fault) {
  client_.reset();
  client_ = connected();
  connections_ = proxy.connections();
  proxy.arm_newest(fault);
  Gate gate(threads + 1);
  std::thread first_occupant = occupy();
  std::vector<std::thread> running;
  for (const auto& visitor : visitors_) {
    visitor->reset();
    running.emplace_back([&] { visit(*visitor, gate); });
  }
  wait_for_the_batch();
  proxy.let_go();
  gate.arrive_and_wait();  // all are answered

  std::thread second_occupant;
  if (!proxy.struck()) second_occupant = occupy();
  gate.arrive_and_wait();  // they leave
  wait_for_the_batch();
  proxy.let_go();
  for (std::thread& thread : running) thread.join();
  first_occupant.join();
  if (second_occupant.joinable()) second_occupant.join();

  // The last answers may still be on their way, and no thread waits for them.
  if (fault.after == never) {
    return eventually([&] { return all_came(); }, 1s) && all_were_told_yes();
  }
  const bool struck = eventually([&] { return proxy.struck(); }, 1s);
  const bool in_time = check_delivery();
  proxy.release();

  for (const auto& visitor : visitors_) take_over(visitor->key);
  for (const auto& visitor : visitors_) check_works(*client_, visitor->key);
  client_.reset();
  for (const auto& visitor : visitors_) give_back(visitor->key);
  return struck && in_time;
}

/// Two sections, or one that is left by `unlock`.
void BatchLane::visit(Visitor& visitor, Gate& gate) {
  visitor.id = ::gettid();
  std::optional<Lock> lock(std::in_place, *client_, visitor.key, std::defer_lock, long_lease);
  visitor.first = acquire(*lock, visitor);
  gate.arrive_and_wait();
  gate.arrive_and_wait();
  if (!visitor.leaves_by_scope()) {
    if (visitor.first == Told::yes) unlock(*lock, visitor);
  } else {
    lock.reset();
    Lock again(*client_, visitor.key, std::defer_lock, long_lease);
    visitor.second = acquire(again, visitor);
    // Behind its release on the same connection, and no other thread wants the key.
    const bool is_same = !proxy.struck() && proxy.connections() == connections_;
    if (visitor.second == Told::no && is_same) violation("overtook its own release");
  }
  visitor.gone = true;
}

Told BatchLane::acquire(Lock& lock, Visitor& visitor) {
  const std::string before = visitor.raw.get(visitor.key);
  Told answer = Told::no;
  visitor.asks = true;
  try {
    if (lock.try_lock()) answer = Told::yes;
  } catch (const Error& error) {
    answer = error.code() == Errc::timed_out ? Told::too_late : Told::broken;
    // The release before it may be open still.
    const bool own = !before.empty() && visitor.raw.get(visitor.key) == before;
    check(error, own || visitor.doubted() ? "" : visitor.key, visitor.raw);
    if (lock.owns_lock()) violation(visitor.key + " is owned after an error");
  }
  visitor.asks = false;
  if (answer == Told::yes && visitor.raw.get(visitor.key) != lock.token()) {
    violation(visitor.key + " is held without having it");
  }
  if (answer == Told::no && before.empty() && !visitor.doubted()) {
    violation(visitor.key + " is held, and no lock holds it");
  }
  return answer;
}

void BatchLane::unlock(Lock& lock, Visitor& visitor) {
  visitor.asks = true;
  const Unlock answer = lock.unlock();
  visitor.asks = false;
  visitor.unlocked = answer == Unlock::released ? Told::yes
                     : answer == Unlock::lost   ? Told::no
                                                : Told::too_late;
  if (answer == Unlock::lost) violation(visitor.key + " was lost");
  if (answer == Unlock::released && visitor.raw.exists(visitor.key)) {
    violation(visitor.key + " was not released");
  }
}

/// Keeps the connection busy until the proxy lets go, so that who comes now queues up.
std::thread BatchLane::occupy() {
  constexpr std::size_t ping = 14;
  const std::size_t all = proxy.passed(request) + ping;
  proxy.hold();
  std::thread occupant([this] {
    try {
      client_->ping();
    } catch (const Error&) {
      // The fault may hit it as well.
    }
  });
  eventually([&] { return proxy.struck() || proxy.passed(request) >= all; });
  return occupant;
}

void BatchLane::wait_for_the_batch() {
  eventually(
      [&] {
        return proxy.struck() ||
               std::all_of(visitors_.begin(), visitors_.end(),
                           [](const auto& visitor) { return visitor->settled(); });
      },
      command_timeout / 2);
}

/// Two that keep the connection busy, two for each section.
bool BatchLane::all_came() const {
  constexpr std::size_t all = 2 + 2 * threads + 2 * (threads / 2);
  const Proxy::Traffic traffic = proxy.traffic();
  return commands_in(traffic.said).size() == all && replies_in(traffic.heard) == all;
}

bool BatchLane::all_were_told_yes() const {
  return std::all_of(visitors_.begin(), visitors_.end(), [](const auto& visitor) {
    return visitor->first == Told::yes &&
           (visitor->leaves_by_scope() ? visitor->second : visitor->unlocked) == Told::yes;
  });
}

/// False when an answer came too late for its thread.
bool BatchLane::check_delivery() {
  const Proxy::Traffic traffic = proxy.traffic();
  const std::vector<Command> commands = commands_in(traffic.said);
  const std::size_t answered = replies_in(traffic.heard);
  std::set<std::string> under_way;
  for (std::size_t i = answered; i < commands.size(); ++i) {
    if (!commands[i].key.empty()) under_way.insert(commands[i].key);
  }
  bool in_time = true;
  for (std::size_t i = 0; i < answered && i < commands.size(); ++i) {
    const Told answer = told(commands, i);
    if (answer == Told::nothing) continue;
    ++tally.answered;
    if (answer == Told::yes) ++tally.delivered;
    if (answer == Told::too_late) in_time = false;
    if (answer == Told::broken || answer == Told::no) {
      violation("answer " + std::to_string(i) + ", for " + commands[i].key +
                ", had come and was not delivered");
    }
  }
  if (!in_time) return false;
  if (under_way.size() > 1) ++tally.shared;
  return true;
}

/// What came of a command; nothing when no thread waited.
Told BatchLane::told(const std::vector<Command>& commands, std::size_t at) const {
  const auto visitor = std::find_if(visitors_.begin(), visitors_.end(),
                                    [&](const auto& one) { return one->key == commands[at].key; });
  if (visitor == visitors_.end()) return Told::nothing;
  if (commands[at].name != "SET") {
    return (*visitor)->leaves_by_scope() ? Told::nothing : (*visitor)->unlocked;
  }
  const bool is_second =
      std::any_of(commands.begin(), commands.begin() + static_cast<std::ptrdiff_t>(at),
                  [&](const Command& one) { return one.key == commands[at].key; });
  return is_second ? (*visitor)->second : (*visitor)->first;
}

class LockBatchCutAtEveryByte : public testing::TestWithParam<Campaign> {};

TEST_P(LockBatchCutAtEveryByte, GivesNoThreadAWrongAnswerAndLeavesNothingHeld) {
  Tally tally;
  const std::size_t positions = run<BatchLane>(GetParam(), tally);
  std::cout << "cut with commands of several threads under way: " << tally.shared
            << ", answers that had come: " << tally.answered << ", delivered: " << tally.delivered
            << '\n';
  // Of the answers, many are the last of a batch, or for the threads that kept the connection busy.
  EXPECT_GT((GetParam().direction == request ? 2 : 3) * tally.shared, positions);
  EXPECT_GT(tally.answered, 0U);
}

INSTANTIATE_TEST_SUITE_P(Lock, LockBatchCutAtEveryByte,
                         testing::Values(Campaign{"RequestClosed", request, Proxy::Manner::close},
                                         Campaign{"ReplyClosed", reply, Proxy::Manner::close},
                                         Campaign{"RequestReset", request, Proxy::Manner::reset},
                                         Campaign{"ReplyReset", reply, Proxy::Manner::reset},
                                         Campaign{"RequestStalled", request, Proxy::Manner::stall},
                                         Campaign{"ReplyStalled", reply, Proxy::Manner::stall}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace batch_cut_test
}  // namespace redlatch::test
