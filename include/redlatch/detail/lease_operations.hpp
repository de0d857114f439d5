#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <redlatch/detail/durable.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/lease_ptr.hpp>
#include <redlatch/detail/quorum_reply.hpp>
#include <redlatch/detail/thread_name.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/detail/validity.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/read_write.hpp>
#include <redlatch/token.hpp>

namespace redlatch::detail {

/// Which further commands an attempt sends behind the acquisition, for use if it fails. `no`: none,
/// in a first attempt. `with_ttl`: the remaining ttl, which limits the next pause.
/// `with_ttl_and_type`: the type of the key, too, once for each wait.
enum class AttemptQuery { no, with_ttl, with_ttl_and_type };

struct Attempt {
  bool held = false;
  bool deadlocks = false;                              // the thread would wait for itself
  std::optional<TimePoint::duration> remaining_ttl{};  // of the holder's lease, if it is known
};

/// The operations on the lease of one lock, which has one lease at a time or none. Each sends a
/// request to the servers and draws the conclusion from the replies. `LockCoreOf` decides which
/// operation is due; the executor renews the lease in between.
template <class Protocol>
class LeaseOperations {
 public:
  LeaseOperations(std::shared_ptr<Executor> executor, Protocol protocol)
      : executor_(std::move(executor)), protocol_(std::move(protocol)) {}

  /// `other` holds nothing afterwards, and keeps its executor, so that its members still work.
  LeaseOperations(LeaseOperations&& other) noexcept
      // NOLINTNEXTLINE(performance-move-constructor-init): `other` keeps a copy, as said above
      : executor_(other.executor_),
        protocol_(std::move(other.protocol_)),
        lease_(std::move(other.lease_)) {}
  LeaseOperations& operator=(LeaseOperations&& other) noexcept {
    lease_ = std::move(other.lease_);  // returns the old lease to its executor
    executor_ = other.executor_;
    protocol_ = std::move(other.protocol_);
    return *this;
  }
  LeaseOperations(const LeaseOperations&) = delete;
  LeaseOperations& operator=(const LeaseOperations&) = delete;
  ~LeaseOperations() = default;

  Executor& executor() const noexcept { return *executor_; }
  const std::shared_ptr<Executor>& shared_executor() const noexcept { return executor_; }
  const Protocol& protocol() const noexcept { return protocol_; }

  /// Whether there is something to release, valid or not.
  bool exists() const noexcept { return lease_ && lease_->exists(executor_->process()); }
  bool valid(TimePoint now) const noexcept {
    return lease_ && lease_->valid(now, executor_->process());
  }
  /// For how long the lease is still valid; zero if it is not.
  TimePoint::duration remaining(TimePoint now) const noexcept {
    const TimePoint end = exists() ? lease_->valid_until() : TimePoint{};
    return std::max(end - now, TimePoint::duration::zero());
  }
  // `token`, `value`, `held_since` and `fencing_token` need a lease.
  const std::string& token() const noexcept { return lease_->token(); }
  const std::string& value() const noexcept { return lease_->value(); }
  TimePoint held_since() const noexcept { return lease_->schedule().since; }
  std::uint64_t fencing_token() const noexcept { return lease_->fencing_token(); }
  std::stop_token lost_token() const {
    return exists() ? executor_->lost_token(*lease_) : std::stop_token();
  }

  /// `stop`: as of a `Request`.
  QuorumReply ask(std::span<const protocol::Command> commands,
                  const CleanupRelease* cleanup = nullptr,
                  ConnectPolicy policy = ConnectPolicy::separate_timeout,
                  const std::stop_token* stop = nullptr) const {
    return QuorumReply(
        *executor_,
        {.key = protocol_.key(), .commands = commands, .cleanup = cleanup, .stop = stop}, policy);
  }

  /// Tries to acquire a lease with a fresh token, which the executor keeps from then on. Throws
  /// `Error` if the outcome is neither yes nor no; a lease that may be left at a server is released
  /// then. `stop`: as of a `Request`.
  Attempt attempt(const LockOptions& options, AttemptQuery query, const std::stop_token& stop) {
    LeasePtr lease = new_lease(options);
    const CleanupRelease cleanup{protocol_.release(lease->value()), options.ttl};
    const QuorumReply quorum_reply = ask_for(*lease, options, query, cleanup, stop);
    const protocol::Vote vote = quorum_reply.vote(protocol::vote);
    if (vote == protocol::Vote::yes) {
      quorum_reply.learn_given(*lease, options.ttl, protocol::vote);
      if (options.fencing) {
        lease->fence(static_cast<std::uint64_t>(quorum_reply.number()));
      }
      take(std::move(lease), options, cleanup);
      return {.held = true};
    }
    if (quorum_reply.may_have_acted()) executor_->post(protocol_.key(), cleanup);
    if (vote == protocol::Vote::refused) throw quorum_reply.error(protocol_.key());
    check_type(quorum_reply.reply(2));
    return {.deadlocks = protocol::is_deadlock(quorum_reply.number()),
            .remaining_ttl = protocol::life_in(quorum_reply.reply(1))};
  }

  /// Asks for the type of the key after a failed attempt. Throws `Errc::wrong_type` if it is not a
  /// lock of this class. A missing reply is no error, and no connection is opened for the question.
  void look_at_type() const {
    const protocol::Command question = protocol_.type();
    const QuorumReply quorum_reply = ask({&question, 1}, nullptr, ConnectPolicy::never);
    check_type(quorum_reply.reply(0));
  }

  /// The lock is held elsewhere, as the first attempt of a call has found.
  void record_contention(TimePoint::duration elapsed, bool is_single_attempt) const noexcept {
    const protocol::Command about = any_command();
    executor_->record_event({.kind = EventKind::contended,
                             .key = protocol_.key(),
                             .elapsed = elapsed,
                             .about = &about,
                             .is_single_attempt = is_single_attempt});
  }
  /// A waiting call goes on after this error.
  void record_failed_attempt(const Error& error, TimePoint::duration elapsed) const noexcept {
    executor_->record_event({.kind = EventKind::attempt_failed,
                             .key = protocol_.key(),
                             .elapsed = elapsed,
                             .why = {error.code()},
                             .detail = error.what()});
  }
  /// The last error of a wait, which also says that this process itself holds the key, if so.
  Error with_holder(const Error& error) const {
    const int thread = holding_thread();
    return thread == 0 ? error : with_note(error, held_by_thread(thread));
  }

  /// Whether the read side of the key is held with a lease that the calling thread has acquired, by
  /// an object of any client. Only this process has such leases: no other thread has the name. The
  /// server is asked for them, as there may be a key of that name at another one.
  bool is_read_by_thread() const {
    const auto is_here = [this](const std::string& value) {
      const protocol::Command question = protocol_.holder(value);
      const QuorumReply held = ask({&question, 1});
      const protocol::Reply* const holder = held.reply(0);
      return holder != nullptr && Protocol::holds(*holder, value);
    };
    return std::ranges::any_of(
        executor_->held_in_process(protocol_.key(), protocol::ReadSide::owner_tag()), is_here);
  }

  /// A lease that is yet to be granted.
  LeasePtr new_lease(const LockOptions& options) const {
    LeasePtr lease(*executor_, protocol_.key());
    lease->begin(Validity(make_token(), executor_->process(), options.label, protocol_.owner_tag(),
                          executor_->servers()),
                 protocol_.key());
    lease->renew_by(protocol_.extend(lease->value(), options.ttl), schedule(options));
    return lease;
  }

  /// Accepts a lease that the server has granted, once it is durable. Throws `Error` if it is not
  /// in time, and releases it.
  void take(LeasePtr lease, const LockOptions& options, const CleanupRelease& cleanup) {
    await_durability(*executor_, protocol_, *lease, options, cleanup);
    have(std::move(lease), cleanup);
  }

  /// Accepts a lease without a wait for durability. Throws `Error` if it is not valid any more, and
  /// releases it.
  void have(LeasePtr lease, const CleanupRelease& cleanup) {
    const TimePoint now = executor_->now();
    if (!lease->valid(now, executor_->process())) {
      executor_->post(protocol_.key(), cleanup);
      throw protocol::about(Errc::timed_out, protocol_.key(), executor_->server(0),
                            "the answer came after the lease was over; use a longer ttl", true);
    }
    lease_ = std::move(lease);
    lease_->held_since(now);
    executor_->keep(*lease_);
  }

  /// The schedule of a lock that is being acquired; `have` sets the time since which it is held.
  RenewalSchedule schedule(const LockOptions& options) const noexcept {
    const bool limited = options.max_hold > std::chrono::milliseconds::zero();
    return {.ttl = options.ttl,
            .renews = options.auto_renew,
            .thread = thread_number(),
            .renew_until = limited ? executor_->now() + options.max_hold : TimePoint::max()};
  }

  /// Extends the lease, or loses it if the servers answer that it is not ours any more. Renewals
  /// use the new ttl, too. Throws `Error` if they do not answer; the lease stays valid then for as
  /// long as that is certain.
  void extend(std::chrono::milliseconds ttl) {
    executor_->suspend(*lease_);
    bool extended = false;
    const protocol::Command extension = protocol_.extend(lease_->value(), ttl);
    protocol::OwnedCommand renewal(extension);
    const Finally keep([&] {
      executor_->pause_renewal(*lease_);
      if (extended) lease_->renew_by(std::move(renewal), ttl);
      executor_->keep(*lease_);
    });
    const QuorumReply quorum_reply = ask_about(*lease_, {&extension, 1}, ttl);
    const protocol::Vote vote = quorum_reply.vote(protocol::ours);
    quorum_reply.learn_extended(*lease_, ttl, protocol::ours);
    if (vote == protocol::Vote::no) lease_->lose();
    if (vote == protocol::Vote::refused) throw quorum_reply.error(protocol_.key());
    extended = vote == protocol::Vote::yes;
  }

  /// Sends commands that may set the lease's remaining ttl to `ttl`. If that throws, for want of
  /// memory, their outcome is in doubt.
  QuorumReply ask_about(Lease& lease, std::span<const protocol::Command> commands,
                        std::chrono::milliseconds ttl,
                        const std::stop_token* stop = nullptr) const {
    const TimePoint since = executor_->now();
    try {
      return ask(commands, nullptr, ConnectPolicy::separate_timeout, stop);
    } catch (...) {
      lease.doubt({since}, ttl);
      throw;
    }
  }

  /// Loses the lease if the servers do not have its token any more. Throws `Error` if they do not
  /// answer.
  void verify() {
    const protocol::Command question = protocol_.holder(lease_->value());
    const QuorumReply quorum_reply = ask({&question, 1});
    const auto read = [&](const protocol::Reply& reply) {
      if (reply.is_error()) return protocol::ours(reply);
      return Protocol::holds(reply, lease_->value()) ? protocol::Vote::yes : protocol::Vote::no;
    };
    switch (quorum_reply.vote(read)) {
      case protocol::Vote::yes:
        return;
      case protocol::Vote::no:
        executor_->pause_renewal(*lease_);
        lease_->lose();
        return executor_->keep(*lease_);
      case protocol::Vote::refused:
        throw quorum_reply.error(protocol_.key(), read);
    }
  }

  /// Replaces the lease by one of another lock, in one step. Throws `Error` if the reply is not a
  /// yes; the lease is kept then unless it may be gone.
  template <class Other>
  void turn_into(LeaseOperations<Other>& other, const LockOptions& options) {
    LeasePtr next = other.new_lease(options);
    const CleanupRelease cleanup{other.protocol().release(next->value()), options.ttl};
    const protocol::Command change =
        protocol_.turn_into(lease_->value(), next->value(), options.ttl);
    executor_->suspend(*lease_);
    bool is_gone = true;
    const Finally keep([&] {
      if (!lease_) return;
      executor_->pause_renewal(*lease_);
      if (is_gone) lease_->lose();
      executor_->keep(*lease_);
    });
    const QuorumReply quorum_reply = ask({&change, 1}, &cleanup);
    const protocol::Vote vote = quorum_reply.vote(protocol::ours);
    if (vote == protocol::Vote::refused) {
      is_gone = quorum_reply.in_doubt() && !is_there_after(quorum_reply);
      if (quorum_reply.may_have_acted()) executor_->post(protocol_.key(), cleanup);
      throw quorum_reply.error(protocol_.key());
    }
    if (vote == protocol::Vote::no) {
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                              "redlatch: this object does not hold the lock any more");
    }
    quorum_reply.learn_given(*next, options.ttl, protocol::ours);
    executor_->detach(*lease_);
    static_cast<void>(end());
    other.have(std::move(next), cleanup);
  }

  /// The number of holds of the lease's owner; without a lease, of the owner that it would have.
  /// Throws `Error` if no server answers.
  std::int64_t count() const {
    const std::string owner_tag = exists() ? value() : protocol_.owner_tag();
    const protocol::Command question = protocol_.count(owner_tag);
    const QuorumReply quorum_reply = ask({&question, 1});
    if (quorum_reply.vote(protocol::answered) != protocol::Vote::yes) {
      throw quorum_reply.error(protocol_.key(), protocol::answered);
    }
    return std::max<std::int64_t>(quorum_reply.number(), 0);
  }

  /// Accepts a lease that another lock of this process has handed over.
  void take_over(LeasePtr lease) noexcept { lease_ = std::move(lease); }
  /// Releases a lease that was handed over too late.
  void give_back(LeasePtr lease) noexcept {
    executor_->detach(*lease);
    const Validity ended = lease->end();
    executor_->post(protocol_.key(), {protocol_.release(ended.value()), ended.max_ttl()});
    executor_->wake_first(protocol_.key());
  }

  /// Releases the lease and waits for the reply; there is no lease afterwards. Without a reply the
  /// outcome is `release_unknown`, and the background repeats the release.
  EventKind release(const LockOptions& options) noexcept {
    const TimePoint now = executor_->now();
    bool was_valid = lease_->valid(now, executor_->process());
    const std::chrono::milliseconds rest = min_hold_left(options, now);
    if (was_valid && hand_over(options, now, rest)) return EventKind::released;
    const bool notified = executor_->detach(*lease_);
    const TimePoint::duration held = lease_->held(now);
    was_valid = was_valid && !notified;
    Validity validity = end();
    const CleanupRelease release{release_after(validity.value(), rest), validity.max_ttl()};
    protocol::Vote vote = protocol::Vote::refused;
    std::optional<Error> error;
    bool open = true;
    try {
      const QuorumReply quorum_reply =
          ask({&release.command, 1}, nullptr, ConnectPolicy::within_timeout);
      vote = quorum_reply.vote(protocol::ours);
      open = quorum_reply.leaves_lease();
      if (vote == protocol::Vote::refused) error = quorum_reply.error(protocol_.key());
    } catch (const std::exception&) {
      // Out of memory: the release is as open as after a time-out.
    }
    if (open) executor_->post(protocol_.key(), release);
    executor_->wake_first(protocol_.key());
    EventKind ending = EventKind::lost;
    if (was_valid && vote == protocol::Vote::yes) ending = EventKind::released;
    if (was_valid && vote == protocol::Vote::refused) ending = EventKind::release_unknown;
    EventRecord record{.kind = ending, .key = protocol_.key(), .elapsed = held};
    if (ending == EventKind::lost) record.why.text = was_valid ? is_not_ours : lease_was_over;
    if (ending == EventKind::release_unknown) {
      record.why.code = error ? error->code() : make_error_code(std::errc::not_enough_memory);
      record.detail = error ? error->what() : std::string_view();
    }
    if (!notified) executor_->record_event(record);
    recycle_token(std::move(validity).token());
    return ending;
  }

  /// Releases the lease without waiting for the reply; there is no lease afterwards.
  void drop(const LockOptions& options) noexcept {
    const TimePoint now = executor_->now();
    const bool was_valid = lease_->valid(now, executor_->process());
    const std::chrono::milliseconds rest = min_hold_left(options, now);
    if (was_valid && hand_over(options, now, rest)) return;
    const bool notified = executor_->detach(*lease_);
    const TimePoint::duration held = lease_->held(now);
    Validity validity = end();
    const CleanupRelease::Reason of = notified    ? CleanupRelease::Reason::notified
                                      : was_valid ? CleanupRelease::Reason::lease
                                                  : CleanupRelease::Reason::ended_lease;
    executor_->post(protocol_.key(),
                    {release_after(validity.value(), rest), validity.max_ttl(), of, held});
    executor_->wake_first(protocol_.key());
    recycle_token(std::move(validity).token());
  }

 private:
  template <class>
  friend class LeaseOperations;

  /// A command that names all keys of the lock.
  protocol::Command any_command() const { return protocol_.extend({}, std::chrono::seconds(1)); }
  /// The number of a thread of this client that holds one of the keys; 0: none.
  int holding_thread() const noexcept {
    return executor_->holding_thread(protocol_.key(), any_command());
  }

  Validity end() noexcept {
    Validity validity = lease_->end();
    lease_.reset();
    return validity;
  }

  void check_type(const protocol::Reply* type) const {
    if (type == nullptr || Protocol::is_lock(*type)) return;
    throw protocol::about(
        Errc::wrong_type, protocol_.key(), executor_->server(0),
        "the key holds a " + type->text + ", which is not a lock of this class; use another key");
  }

  /// Whether the server has answered with an error, and still has the lease.
  bool is_there_after(const QuorumReply& quorum_reply) const {
    if (quorum_reply.reply(0) == nullptr) return false;
    const protocol::Command question = protocol_.holder(lease_->value());
    const QuorumReply held = ask({&question, 1});
    const protocol::Reply* const holder = held.reply(0);
    return holder != nullptr && Protocol::holds(*holder, lease_->value());
  }

  QuorumReply ask_for(const Lease& lease, const LockOptions& options, AttemptQuery query,
                      const CleanupRelease& cleanup, const std::stop_token& stop) const {
    constexpr auto policy = ConnectPolicy::separate_timeout;
    const protocol::Command acquire = protocol_.acquire(lease.value(), options.ttl);
    if (query == AttemptQuery::no) return ask({&acquire, 1}, &cleanup, policy, &stop);
    const std::array commands{acquire, protocol_.ask_ttl(), protocol_.type()};
    const auto asked = std::span(commands).first(1 + static_cast<std::size_t>(query));
    return ask(asked, &cleanup, policy, &stop);
  }

  /// For how long a release has to leave the key, by `LockOptions::min_hold`. The server granted
  /// the lock before the time from which this counts, and gets the release later, so that it keeps
  /// the key for no less; a release that is repeated after an outage keeps it for longer. 1 % is
  /// for clocks that run at different speeds, as in `drift`.
  std::chrono::milliseconds min_hold_left(const LockOptions& options,
                                          TimePoint now) const noexcept {
    if (options.min_hold == std::chrono::milliseconds::zero()) return options.min_hold;
    const TimePoint::duration held = now - lease_->schedule().since;
    return std::max(
        std::chrono::ceil<std::chrono::milliseconds>(options.min_hold - held + held / 100),
        std::chrono::milliseconds::zero());
  }

  protocol::Command release_after(std::string_view value, std::chrono::milliseconds rest) const {
    if constexpr (Protocol::has_min_hold) {
      if (rest > std::chrono::milliseconds::zero()) return protocol_.release_after(value, rest);
    }
    return protocol_.release(value);
  }

  bool hand_over(const LockOptions& options, TimePoint now,
                 std::chrono::milliseconds rest) noexcept {
    const TimePoint since = lease_->schedule().since;
    if (!Protocol::is_passed_on || rest > std::chrono::milliseconds::zero() ||
        !executor_->hand_over(protocol_.key(), lease_, options)) {
      return false;
    }
    executor_->record_event(
        {.kind = EventKind::released, .key = protocol_.key(), .elapsed = now - since});
    return true;
  }

  std::shared_ptr<Executor> executor_;
  Protocol protocol_;
  LeasePtr lease_{};
};

}  // namespace redlatch::detail
