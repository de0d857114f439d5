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
#include <string>
#include <system_error>
#include <utility>

#include <redlatch/detail/answers.hpp>
#include <redlatch/detail/durable.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/held.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/tenure.hpp>
#include <redlatch/detail/tenure_of.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>
#include <redlatch/token.hpp>

namespace redlatch::detail {

/// What an attempt asks besides for the lock.
enum class Look { no, at_life, at_life_and_kind };

struct Attempt {
  bool held = false;
  bool deadlocks = false;                     // it would wait for its own thread
  std::optional<TimePoint::duration> life{};  // of the holder's lease, where it is known
};

/// The exchanges about a lease: each says one thing to the servers and draws the conclusion. When
/// to say what is `BasicLock`'s business, except for renewals, which are the executor's.
template <class Protocol>
class Holding : public Held<Protocol> {
 public:
  using Held<Protocol>::Held;
  using Held<Protocol>::exists;
  using Held<Protocol>::value;
  using Held<Protocol>::ask;

  /// Asks for a lease with a token of its own, which is kept up from then on. Throws `Error` when
  /// the answer is neither yes nor no; what may be left at a server then is taken back.
  Attempt attempt(const LockOptions& options, Look look) {
    TenureOf tenure = new_tenure(options);
    const Undo undo{protocol_.release(tenure->value()), options.ttl};
    const Answers answers = ask_for(*tenure, options, look, undo);
    const protocol::Verdict verdict = answers.verdict(protocol::verdict);
    if (verdict == protocol::Verdict::yes) {
      answers.learn_given(*tenure, options.ttl, protocol::verdict);
      if (options.fencing) {
        tenure->fence(static_cast<std::uint64_t>(answers.number()));
      }
      take(std::move(tenure), options, undo);
      return {.held = true};
    }
    if (answers.may_have_acted()) executor_->post(protocol_.key(), undo);
    if (verdict == protocol::Verdict::refused) throw answers.error(protocol_.key());
    check_kind(answers.reply(2));
    return {.deadlocks = protocol::is_deadlock(answers.number()),
            .life = protocol::life_in(answers.reply(1))};
  }

  /// Asks what holds the key after a failed attempt. Throws `Errc::wrong_type` when it is no lock
  /// of this kind. That the server does not say is no error: nothing depends on it, so that no
  /// connection is made for it, either.
  void look_at_kind() const {
    const protocol::Command question = protocol_.kind();
    const Answers answers = ask({&question, 1}, nullptr, Connecting::never);
    check_kind(answers.reply(0));
  }

  /// A tenure for a lease that is yet to be given.
  TenureOf new_tenure(const LockOptions& options) const {
    TenureOf tenure(*executor_, protocol_.key());
    tenure->begin(Lease(make_token(), executor_->process(), options.label, protocol_.mark(),
                        executor_->servers()),
                  protocol_.key());
    tenure->renew_by(protocol_.extend(tenure->value(), options.ttl), upkeep(options));
    return tenure;
  }

  /// Makes a lease that the server has given the one that is held, if it is as durable as it has to
  /// be, and in time. Throws `Error` otherwise, and takes it back.
  void take(TenureOf tenure, const LockOptions& options, const Undo& undo) {
    await_durability(*executor_, protocol_, *tenure, options, undo);
    have(std::move(tenure), undo);
  }

  /// The same for one that is as durable as it is.
  void have(TenureOf tenure, const Undo& undo) {
    if (!tenure->valid(executor_->now(), executor_->process())) {
      executor_->post(protocol_.key(), undo);
      throw protocol::about(Errc::timed_out, protocol_.key(), executor_->server(0),
                            "the answer came after the lease was over; use a longer ttl", true);
    }
    tenure_ = std::move(tenure);
    executor_->keep(*tenure_);
  }

  /// What is to be done for a lock that is acquired now.
  Upkeep upkeep(const LockOptions& options) const noexcept {
    const TimePoint now = executor_->now();
    const bool limited = options.max_hold > std::chrono::milliseconds::zero();
    return {.ttl = options.ttl,
            .renews = options.auto_renew,
            .since = now,
            .renew_until = limited ? now + options.max_hold : TimePoint::max()};
  }

  /// Loses the lease when a server says that it is not ours any more. Throws `Error` when none says
  /// anything; the lease is valid for as long as is certain then. Renewals give the new ttl, too.
  void extend(std::chrono::milliseconds ttl) {
    executor_->suspend(*tenure_);
    bool extended = false;
    const protocol::Command extension = protocol_.extend(tenure_->value(), ttl);
    protocol::OwnedCommand renewal(extension);
    const Finally keep([&] {
      executor_->take_back(*tenure_);
      if (extended) tenure_->renew_by(std::move(renewal), ttl);
      executor_->keep(*tenure_);
    });
    const Answers answers = ask_about(*tenure_, {&extension, 1}, ttl);
    const protocol::Verdict verdict = answers.verdict(protocol::ours);
    answers.learn_extended(*tenure_, ttl, protocol::ours);
    if (verdict == protocol::Verdict::no) tenure_->lose();
    if (verdict == protocol::Verdict::refused) throw answers.error(protocol_.key());
    extended = verdict == protocol::Verdict::yes;
  }

  /// Asks what may set the life of the lease to `ttl`. An exception, for want of memory, leaves a
  /// doubt.
  Answers ask_about(Tenure& tenure, std::span<const protocol::Command> commands,
                    std::chrono::milliseconds ttl) const {
    const TimePoint since = executor_->now();
    try {
      return ask(commands);
    } catch (...) {
      tenure.doubt({since}, ttl);
      throw;
    }
  }

  /// Loses the lease when the server does not have its token any more. Throws as `extend` does.
  void verify() {
    const protocol::Command question = protocol_.holder(tenure_->value());
    const Answers answers = ask({&question, 1});
    const auto read = [&](const protocol::Reply& reply) {
      if (reply.is_error()) return protocol::ours(reply);
      return Protocol::holds(reply, tenure_->value()) ? protocol::Verdict::yes
                                                      : protocol::Verdict::no;
    };
    switch (answers.verdict(read)) {
      case protocol::Verdict::yes:
        return;
      case protocol::Verdict::no:
        executor_->take_back(*tenure_);
        tenure_->lose();
        return executor_->keep(*tenure_);
      case protocol::Verdict::refused:
        throw answers.error(protocol_.key());
    }
  }

  /// Gives the lease up and gets one for another lock in the same step. Throws `Error` when that
  /// was not answered with yes; the lease is kept unless it may be gone.
  template <class Other>
  void turn_into(Holding<Other>& other, const LockOptions& options) {
    TenureOf next = other.new_tenure(options);
    const Undo undo{other.protocol().release(next->value()), options.ttl};
    const protocol::Command change =
        protocol_.turn_into(tenure_->value(), next->value(), options.ttl);
    executor_->suspend(*tenure_);
    bool is_gone = true;
    const Finally keep([&] {
      if (!tenure_) return;
      executor_->take_back(*tenure_);
      if (is_gone) tenure_->lose();
      executor_->keep(*tenure_);
    });
    const Answers answers = ask({&change, 1}, &undo);
    const protocol::Verdict verdict = answers.verdict(protocol::ours);
    if (verdict == protocol::Verdict::refused) {
      is_gone = answers.in_doubt() && !is_there_after(answers);
      if (answers.may_have_acted()) executor_->post(protocol_.key(), undo);
      throw answers.error(protocol_.key());
    }
    if (verdict == protocol::Verdict::no) {
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                              "redlatch: this object does not hold the lock any more");
    }
    answers.learn_given(*next, options.ttl, protocol::ours);
    executor_->take_back_for_good(*tenure_);
    static_cast<void>(end());
    other.have(std::move(next), undo);
  }

  /// How many holds its owner has, or the one who would be. Throws `Error` when no server says.
  std::int64_t count() const {
    const std::string mark = exists() ? value() : protocol_.mark();
    const protocol::Command question = protocol_.count(mark);
    const Answers answers = ask({&question, 1});
    if (answers.verdict(protocol::answered) != protocol::Verdict::yes) {
      throw answers.error(protocol_.key());
    }
    return std::max<std::int64_t>(answers.number(), 0);
  }

  /// Takes a lease over that another lock of this process has passed on.
  void take_over(TenureOf lease) noexcept { tenure_ = std::move(lease); }
  /// One that came too late.
  void give_back(TenureOf lease) noexcept {
    executor_->take_back_for_good(*lease);
    const Lease ended = lease->end();
    executor_->post(protocol_.key(), {protocol_.release(ended.value()), ended.longest_ttl()});
    executor_->call_first(protocol_.key());
  }

  /// Gives the lease up and waits for the answer; there is no lease afterwards. What is not
  /// answered, `release_unknown`, is left to the background.
  EventKind release(const LockOptions& options) noexcept {
    bool was_valid = tenure_->valid(executor_->now(), executor_->process());
    const TimePoint since = tenure_->upkeep().since;
    if (was_valid && hand_over(options, since)) return EventKind::released;
    const bool told = executor_->take_back_for_good(*tenure_);
    was_valid = was_valid && !told;
    Lease lease = end();
    const Undo release{protocol_.release(lease.value()), lease.longest_ttl()};
    protocol::Verdict verdict = protocol::Verdict::refused;
    std::error_code error;
    bool open = true;
    try {
      const Answers answers = ask({&release.command, 1}, nullptr, Connecting::counted);
      verdict = answers.verdict(protocol::ours);
      open = verdict == protocol::Verdict::refused || !answers.complete();
      if (verdict == protocol::Verdict::refused) error = answers.error(protocol_.key()).code();
    } catch (const std::exception&) {
      // Out of memory: the release is as open as after a time-out.
      error = make_error_code(std::errc::not_enough_memory);
    }
    if (open) executor_->post(protocol_.key(), release);
    executor_->call_first(protocol_.key());
    EventKind ending = EventKind::lost;
    if (was_valid && verdict == protocol::Verdict::yes) ending = EventKind::released;
    if (was_valid && verdict == protocol::Verdict::refused) ending = EventKind::release_unknown;
    if (ending == EventKind::lost) error = {};
    if (!told) executor_->happened(ending, protocol_.key(), since, error);
    recycle_token(std::move(lease).token());
    return ending;
  }

  /// Gives the lease up and waits for nothing; there is no lease afterwards.
  void drop(const LockOptions& options) noexcept {
    const bool was_valid = tenure_->valid(executor_->now(), executor_->process());
    const TimePoint since = tenure_->upkeep().since;
    if (was_valid && hand_over(options, since)) return;
    const bool told = executor_->take_back_for_good(*tenure_);
    Lease lease = end();
    const Undo::Of of = told ? Undo::Of::told : was_valid ? Undo::Of::lease : Undo::Of::ended_lease;
    executor_->post(protocol_.key(),
                    {protocol_.release(lease.value()), lease.longest_ttl(), of, since});
    executor_->call_first(protocol_.key());
    recycle_token(std::move(lease).token());
  }

 private:
  using Held<Protocol>::executor_;
  using Held<Protocol>::protocol_;
  using Held<Protocol>::tenure_;
  using Held<Protocol>::end;

  void check_kind(const protocol::Reply* kind) const {
    if (kind == nullptr || Protocol::is_lock(*kind)) return;
    throw protocol::about(
        Errc::wrong_type, protocol_.key(), executor_->server(0),
        "the key holds a " + kind->text + ", which is not a lock of this kind; use another key");
  }

  /// Whether the server has answered with an error, and has the lease still.
  bool is_there_after(const Answers& answers) const {
    if (answers.reply(0) == nullptr) return false;
    const protocol::Command question = protocol_.holder(tenure_->value());
    const Answers held = ask({&question, 1});
    const protocol::Reply* const holder = held.reply(0);
    return holder != nullptr && Protocol::holds(*holder, tenure_->value());
  }

  Answers ask_for(const Tenure& tenure, const LockOptions& options, Look look,
                  const Undo& undo) const {
    const protocol::Command acquire = protocol_.acquire(tenure.value(), options.ttl);
    if (look == Look::no) return ask({&acquire, 1}, &undo);
    const std::array commands{acquire, protocol_.life(), protocol_.kind()};
    return ask(std::span(commands).first(1 + static_cast<std::size_t>(look)), &undo);
  }

  bool hand_over(const LockOptions& options, TimePoint since) noexcept {
    if (!Protocol::is_passed_on || !executor_->hand_over(protocol_.key(), tenure_, options)) {
      return false;
    }
    executor_->happened(EventKind::released, protocol_.key(), since, {});
    return true;
  }
};

}  // namespace redlatch::detail
