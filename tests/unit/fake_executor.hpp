#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <redlatch/basic_lock.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease_ptr.hpp>
#include <redlatch/detail/lock_core.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/protocol/exclusive.hpp>

#include "fake_answers.hpp"
#include "records.hpp"

namespace redlatch::test {

using namespace std::chrono_literals;

/// Servers with scripted answers, on a clock that only moves when a test moves it, or when the lock
/// pauses or waits for an answer. Remembers everything.
class FakeExecutor final : public detail::Executor {
 public:
  explicit FakeExecutor(std::vector<std::deque<Answer>> answers) : answers_(std::move(answers)) {}

  void will(Answer answer, std::size_t server = 0) {
    answers_[server].push_back(std::move(answer));
  }
  void advance(TimePoint::duration time) { now_ += time; }
  void fork() { ++process_; }

  std::size_t servers() const noexcept override { return answers_.size(); }
  std::string server(std::size_t index) const override {
    if (no_memory_for_names) throw std::bad_alloc();
    return "redis://fake:" + std::to_string(index + 1) + "/0";
  }
  bool no_memory_for_names = false;
  bool scripting() const noexcept override { return runs_scripts; }
  bool runs_scripts = true;

  /// What a failed attempt sees when it looks at the key, which is not one of the `calls`.
  protocol::Reply kind_of_key = status("string");
  std::vector<ConnectPolicy> looks{};

  void execute(std::span<const detail::Request> requests, std::span<detail::Response> responses,
               Enough enough, ConnectPolicy connecting) override {
    EXPECT_EQ(requests.size(), servers());
    EXPECT_EQ(responses.size(), servers());
    const std::span<const protocol::Command> commands = requests.front().commands;
    if (commands.size() == 1 && commands.front().argument(0) == "TYPE") {
      looks.push_back(connecting);
      responses.front().replies.push_back(kind_of_key);
      return;
    }
    const TimePoint begun = now_;
    for (std::size_t i = 0; i < servers(); ++i) {
      calls.push_back(record(i, requests[i], connecting));
      Answer answer = next_answer(i);
      if (answer.out_of_memory) throw std::bad_alloc();
      found_enough.push_back(enough(responses));
      now_ = std::max(now_, begun + answer.delay);
      if (answer.sent_after) responses[i].sent = begun + *answer.sent_after;
      // To what was not asked there is no reply.
      answer.replies.resize(std::min(answer.replies.size(), requests[i].commands.size()));
      for (protocol::Reply& reply : answer.replies) {
        responses[i].replies.push_back(std::move(reply));
      }
      responses[i].failure = std::move(answer.failure);
    }
    found_enough.push_back(enough(responses));
  }

  void post(std::string_view key, const detail::CleanupRelease& cleanup) noexcept override {
    posted.push_back(record(key, cleanup));
    posted.back().said_before = calls.size();
  }

  detail::Lease& open_lease(std::string_view) override {
    if (no_thread) throw Error(Errc::unreachable, "no thread");
    return tenures.emplace_back();
  }
  void close_lease(detail::Lease& lease) noexcept override {
    tenures.remove_if([&](const detail::Lease& one) { return &one == &lease; });
  }
  void keep(detail::Lease& lease) noexcept override {
    kept = &lease;
    kept_after.push_back(calls.size());
  }
  void suspend(detail::Lease&) noexcept override { suspended_after.push_back(calls.size()); }
  void pause_renewal(detail::Lease&) noexcept override {
    kept = nullptr;
    taken_back_after.push_back(calls.size());
  }
  bool detach(detail::Lease& lease) noexcept override {
    pause_renewal(lease);
    return loss_is_told;
  }
  std::stop_token lost_token(detail::Lease& lease) override {
    if (!lease.lost().stop_possible()) lease.lost() = std::stop_source();
    return lease.lost().get_token();
  }

  void record_event(const detail::EventRecord& record) noexcept override {
    events.push_back({record.kind, record.elapsed, record.why.code});
    details.emplace_back(record.detail);
    if (record.is_single_attempt) ++missed;
  }
  int holding_thread(std::string_view, const protocol::Command&) noexcept override {
    return holder;
  }
  std::vector<std::string> held_in_process(std::string_view, std::string_view owner_tag) override {
    return owner_tag == held_tag ? std::vector{held_tag + " token"} : std::vector<std::string>{};
  }
  std::unique_ptr<detail::Waiter> enter_queue(std::string_view, const LockOptions& wanted,
                                              detail::QueueMode) override {
    places.push_back(wanted);
    return std::make_unique<Place>(*this);
  }
  bool is_waited_for(std::string_view) const noexcept override { return others_wait; }
  bool is_contended(std::string_view) const noexcept override { return contended; }
  bool hand_over(std::string_view, detail::LeasePtr& lease, const LockOptions&) noexcept override {
    if (!passes_on) return false;
    passed_on = std::move(lease);
    return true;
  }
  void wake_first(std::string_view) noexcept override { called_after.push_back(calls.size()); }
  Metrics metrics() const override { return {}; }

  TimePoint now() const noexcept override {
    if (on_now) on_now();
    return now_;
  }

  void pause(TimePoint::duration time, const std::stop_token& stop) {
    pauses.push_back(time);
    if (on_pause) on_pause();
    if (!stop.stop_requested() && !passed_on && !granted && !changed) now_ += time;
  }

  std::uint64_t process() const noexcept override { return process_; }

  /// All commands in the order in which they were said.
  std::vector<std::string> said() const {
    std::vector<std::string> all;
    for (const Call& call : calls) {
      all.insert(all.end(), call.commands.begin(), call.commands.end());
    }
    return all;
  }

  std::vector<Call> calls{};
  std::vector<PostResult> posted{};
  std::vector<TimePoint::duration> pauses{};
  std::vector<bool> found_enough{};  // before each answer, and at last
  std::vector<Happened> events{};
  std::vector<std::string> details{};  // of the events
  int missed = 0;                      // by single attempts
  int holder = 0;                      // the thread of this client that has the key
  std::string held_tag{};              // the owner tag of a lease that this process has
  std::vector<LockOptions> places{};   // all that were ever taken
  int waiting = 0;
  bool others_wait = false;  // and came before
  bool contended = false;
  bool passes_on = false;
  detail::LeasePtr passed_on{};    // to the waiter
  detail::GrantAddress address{};  // of the waiter
  detail::LeasePtr entry{};
  bool entry_is_inherited = false;  // by the next waiter
  bool granted = false;
  bool changed = false;
  std::vector<detail::Waiter::Ending> withdrawn{};
  std::vector<std::size_t> called_after{};
  std::vector<bool> noted{};
  std::function<void()> on_now{};
  std::function<void()> on_pause{};
  std::list<detail::Lease> tenures{};
  detail::Lease* kept = nullptr;
  std::vector<std::size_t> kept_after{};  // so many calls
  std::vector<std::size_t> suspended_after{};
  std::vector<std::size_t> taken_back_after{};
  bool no_thread = false;
  bool loss_is_told = false;

 private:
  /// In the line of one, which moves the clock.
  class Place final : public detail::Waiter {
   public:
    explicit Place(FakeExecutor& executor) : executor_(executor) { ++executor_.waiting; }
    bool is_first() const noexcept override { return !executor_.others_wait; }
    void wait(TimePoint end, const std::stop_token& stop) override {
      executor_.pause(end - executor_.now_, stop);
    }
    void wait_in_line(TimePoint end, const std::stop_token& stop) override {
      wait(std::min(end, executor_.now_ + 100ms), stop);
    }
    bool has_lease() const noexcept override { return static_cast<bool>(executor_.passed_on); }
    void note_answers(bool come) noexcept override { executor_.noted.push_back(come); }
    detail::GrantAddress address(TimePoint, const std::stop_token&) override {
      return executor_.address;
    }
    void refuse_queue() noexcept override { executor_.address = {}; }
    void enter(detail::LeasePtr entry) noexcept override { executor_.entry = std::move(entry); }
    detail::Lease* entry() const noexcept override { return executor_.entry.get(); }
    bool is_granted() const noexcept override { return executor_.granted; }
    bool has_news() const noexcept override { return executor_.granted || executor_.changed; }
    void forget_changes() noexcept override { executor_.changed = false; }
    detail::LeasePtr withdraw(Ending how) noexcept override {
      executor_.withdrawn.push_back(how);
      executor_.granted = executor_.changed = false;
      return std::move(executor_.entry);
    }
    Left leave(bool) noexcept override {
      --executor_.waiting;
      Left left{.lease = std::move(executor_.passed_on)};
      if (!executor_.entry_is_inherited) left.entry = std::move(executor_.entry);
      return left;
    }

   private:
    FakeExecutor& executor_;
  };

  static PostResult record(std::string_view key, const detail::CleanupRelease& cleanup) {
    return {.key = std::string(key),
            .command = line(cleanup.command),
            .ttl = cleanup.ttl,
            .of = cleanup.of,
            .held = cleanup.held};
  }

  Call record(std::size_t server, const detail::Request& request, ConnectPolicy connecting) const {
    Call call{.server = server,
              .key = std::string(request.key),
              .connecting = connecting,
              .at = now_,
              .blocks = request.blocks};
    for (const protocol::Command& command : request.commands) {
      call.commands.push_back(line(command));
    }
    if (request.cleanup != nullptr) call.cleanup = record(request.key, *request.cleanup);
    return call;
  }

  /// A release that is not scripted is answered with yes, so that destructors need no script.
  /// Anything else ends the test, which might wait for ever otherwise.
  Answer next_answer(std::size_t server) {
    if (answers_[server].empty()) {
      const std::string& command = calls.back().commands.front();
      if (command.starts_with("RELEASE")) return says(integer(1));
      throw std::logic_error("nobody expected \"" + command + '"');
    }
    Answer answer = std::move(answers_[server].front());
    answers_[server].pop_front();
    return answer;
  }

  std::vector<std::deque<Answer>> answers_;
  TimePoint now_{1000s};
  std::uint64_t process_ = 7;
};

using Fake = std::shared_ptr<FakeExecutor>;

/// One server and what it will say.
template <class... QuorumReply>
Fake fake(QuorumReply... answers) {
  return std::make_shared<FakeExecutor>(
      std::vector<std::deque<Answer>>{std::deque<Answer>{std::move(answers)...}});
}
/// As many servers as there are answers.
inline Fake fake_servers(const std::vector<Answer>& answers) {
  std::vector<std::deque<Answer>> all;
  for (const Answer& answer : answers) all.push_back({answer});
  return std::make_shared<FakeExecutor>(std::move(all));
}

/// A lock without a client.
template <class Protocol>
class TestLockOf : public BasicLock {
 public:
  using Core = detail::LockCoreOf<Protocol>;

  TestLockOf(Fake executor, Protocol protocol, LockOptions options)
      : BasicLock(std::in_place_type<Core>, std::move(executor), std::move(protocol),
                  std::move(options)) {}
  explicit TestLockOf(Core core) : BasicLock(std::in_place_type<Core>, std::move(core)) {}

 protected:
  Core& core() { return static_cast<Core&>(BasicLock::core()); }
  const Core& core() const { return static_cast<const Core&>(BasicLock::core()); }
};
using TestLock = TestLockOf<protocol::Exclusive>;

inline TestLock lock_on(const Fake& executor, LockOptions options = {}) {
  protocol::Exclusive protocol("job", options.fencing);
  return TestLock(executor, std::move(protocol), std::move(options));
}
/// One that is held since now.
inline TestLock held_on(const Fake& executor, LockOptions options = {}) {
  executor->will(says(ok()));
  TestLock lock = lock_on(executor, std::move(options));
  EXPECT_TRUE(lock.try_lock());
  return lock;
}

/// The error that `action` throws.
template <class Action>
Error error_of(Action action) {
  try {
    static_cast<void>(action());
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no redlatch::Error was thrown";
  return Error(Errc::protocol_error, "none");
}

}  // namespace redlatch::test
