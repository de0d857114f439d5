#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <redlatch/detail/backoff.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/holding.hpp>
#include <redlatch/detail/queue_place.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/queue.hpp>

namespace redlatch::detail {

/// What is said in the queue at the server for one lock, by whoever has its place, and what follows
/// from the answers. Messages only make it faster: everything happens at its time, too.
template <class Protocol>
class Queueing {
 public:
  Queueing(Holding<Protocol>& holding, const LockOptions& options)
      : holding_(holding), options_(options) {}

  /// When there is something to say, should there be no news until then.
  TimePoint due() const noexcept { return due_; }

  enum class Outcome { held, waits, refused, deadlocks };
  /// Says what is due. `refused`: the server has no queue for us, and the place no entry, nor has
  /// it one when waiting would be for its own thread. Throws `Error` when the server does not
  /// answer, or the lock cannot be had.
  Outcome speak(QueuePlace& place, const Address& address) {
    due_ = executor().now();
    channel_ = address.channel;
    if (place.is_granted()) return claim(place.withdraw(Ending::settled));
    const bool joins = place.entry() == nullptr;
    // Of an entry that was not refreshed in time, it says nothing of our connection that it is
    // gone.
    const TimePoint expiry = joins ? TimePoint::max() : entry_expiry(*place.entry());
    const Standing standing = joins ? join(place) : stay(place, address);
    if (!standing) return Outcome::refused;
    switch (*standing) {
      case protocol::Standing::granted:
        return claim(place.withdraw(Ending::settled));
      case protocol::Standing::told:
        return claim(place.withdraw(Ending::told));
      case protocol::Standing::gone:
        leave(place.withdraw(executor().now() < expiry ? Ending::gone : Ending::settled));
        // To join again; not in a hurry where a server forgets entries as soon as it has them.
        due_ = executor().now() + (joins ? backoff_.next({}) : TimePoint::duration::zero());
        return Outcome::waits;
      case protocol::Standing::deadlock:
        static_cast<void>(place.withdraw(Ending::settled));
        return Outcome::deadlocks;
      case protocol::Standing::own_reader:
        if (!waits_for_itself()) return Outcome::waits;
        leave(place);
        return Outcome::deadlocks;
      case protocol::Standing::queued:
      case protocol::Standing::first:
        break;
    }
    return Outcome::waits;
  }

  /// Gives the place in the queue up, and the lock, if it is granted by now.
  void leave(QueuePlace& place) noexcept {
    if (place.entry() != nullptr) leave(place.withdraw(Ending::settled));
  }
  void leave(TenureOf entry) noexcept {
    if (entry) executor().post(key(), undo(*entry));
  }

 private:
  using Ending = QueuePlace::Ending;
  using Standing = std::optional<protocol::Standing>;

  /// So long the first does without having the key watched: most holders are gone by then.
  static constexpr std::chrono::milliseconds unwatched{2};

  Executor& executor() const noexcept { return holding_.executor(); }
  const std::string& key() const noexcept { return holding_.protocol().key(); }
  protocol::Waiter waiter(const Tenure& entry) const noexcept {
    return {.value = entry.value(), .ttl = options_.ttl, .channel = channel_};
  }
  Undo undo(const Tenure& entry) const noexcept {
    return {holding_.protocol().leave(waiter(entry), entry.queued_until()), options_.ttl};
  }

  /// With a token of its own, which is never used for another entry.
  Standing join(QueuePlace& place) {
    place.enter(holding_.new_tenure(options_));
    place.forget_changes();
    const Undo undo = this->undo(*place.entry());
    try {
      const protocol::Command command = holding_.protocol().join(waiter(*place.entry()));
      const Answers answers = holding_.ask({&command, 1}, &undo);
      if (const auto standing = standing_in(answers, place)) {
        due_ += is_first_ ? unwatched : refresh_period();
        return standing;
      }
      if (answers.may_have_acted()) executor().post(key(), undo);
      refuse(place, answers.error(key()));
    } catch (...) {
      static_cast<void>(place.withdraw(Ending::settled));
      throw;
    }
    static_cast<void>(place.withdraw(Ending::settled));
    return std::nullopt;
  }

  /// The first has the key watched as well, for holders that know of no queue.
  Standing stay(QueuePlace& place, const Address& address) {
    place.forget_changes();
    const bool watches = is_first_ && address.subscriber != 0;
    const std::array commands{
        holding_.protocol().stay(waiter(*place.entry()), place.entry()->queued_until()),
        protocol::track(address.subscriber), protocol::track_next(), holding_.protocol().life()};
    // What is not answered may be carried out later, when the lock is granted and extended.
    const Answers answers = holding_.ask_about(
        *place.entry(), std::span(commands).first(watches ? commands.size() : 1), options_.ttl);
    const Standing standing = standing_in(answers, place);
    if (!standing) {
      refuse(place, answers.error(key()));
      leave(place);
      return standing;
    }
    const bool watched = is_done(answers.reply(1)) && is_done(answers.reply(2));
    const auto life = protocol::life_in(answers.reply(3));
    TimePoint::duration pause = refresh_period();
    if (watched && life) pause = std::min(pause, backoff_.just_past(*life));
    if (is_first_ && !watched) pause = std::min(pause, backoff_.next(life));
    due_ += pause;
    return standing;
  }

  /// Whether the reader of its own thread should have ended by now.
  bool waits_for_itself() {
    const TimePoint now = executor().now();
    if (!own_reader_until_) {
      own_reader_until_ = now + protocol::own_reader_ends_within(options_.ttl);
    }
    return now >= *own_reader_until_;
  }

  static bool is_done(const protocol::Reply* reply) noexcept {
    return reply != nullptr && !reply->is_error();
  }

  /// Nothing when it was refused. An entry that stands, or is granted, is confirmed.
  Standing standing_in(const Answers& answers, QueuePlace& place) {
    answers.learn_extended(*place.entry(), options_.ttl, stands);
    const protocol::Reply* const reply = answers.reply(0);
    if (reply == nullptr) throw answers.error(key());
    if (reply->is_error()) return std::nullopt;
    const protocol::Standing standing = protocol::standing(*reply);
    // The end of a reader of its own is waited for as by the first.
    is_first_ = standing == protocol::Standing::first || standing == protocol::Standing::own_reader;
    if (standing != protocol::Standing::gone) {
      place.entry()->queue_until(protocol::expiry(*reply));
    }
    return standing;
  }
  static protocol::Verdict stands(const protocol::Reply& reply) noexcept {
    if (reply.is_error()) return protocol::Verdict::refused;
    return protocol::standing(reply) == protocol::Standing::gone ? protocol::Verdict::no
                                                                 : protocol::Verdict::yes;
  }

  /// Throws what another way of asking would be told as well.
  static void refuse(QueuePlace& place, const Error& error) {
    if (is_ridden_out(error) || error.code() == Errc::wrong_type ||
        error.code() == Errc::invalid_argument) {
      throw error;
    }
    place.refuse_queue();
  }

  /// Takes the lease that the server has granted, if it is still ours.
  Outcome claim(TenureOf entry) {
    const Undo undo = this->undo(*entry);
    entry->renew_for(holding_.upkeep(options_));
    bool is_ours = false;
    try {
      is_ours = is_claimed(*entry, undo);
    } catch (...) {
      executor().post(key(), undo);
      throw;
    }
    if (is_ours) {
      holding_.take(std::move(entry), options_, undo);
      return Outcome::held;
    }
    executor().post(key(), undo);
    due_ = executor().now();
    return Outcome::waits;
  }

  /// Has a message of its own to the server only when there is something to draw, or too little
  /// validity left.
  bool is_claimed(Tenure& entry, const Undo& undo) {
    const bool stale = entry.valid_until() - executor().now() < options_.ttl / 2;
    if (!options_.fencing && !stale) return true;
    const protocol::Command claim = holding_.protocol().claim(entry.value(), options_.ttl);
    const Answers answers = holding_.ask({&claim, 1}, &undo);
    // A counter of another kind is no loss, and would be there the next time, too.
    const protocol::Verdict verdict =
        answers.verdict(options_.fencing ? protocol::verdict : protocol::ours);
    if (verdict == protocol::Verdict::refused) throw answers.error(key());
    if (verdict == protocol::Verdict::no) return false;
    answers.learn_given(entry, options_.ttl, protocol::verdict);
    if (options_.fencing) entry.fence(static_cast<std::uint64_t>(answers.number()));
    return true;
  }

  /// When the entry expires unless it is refreshed.
  TimePoint entry_expiry(const Tenure& entry) const noexcept {
    return entry.valid_until() + drift(options_.ttl) - options_.ttl +
           protocol::entry_life(options_.ttl);
  }
  TimePoint::duration refresh_period() const noexcept {
    return protocol::refresh_period(options_.ttl);
  }

  Holding<Protocol>& holding_;
  const LockOptions& options_;
  Backoff backoff_{};
  std::string_view channel_{};
  TimePoint due_{};
  bool is_first_ = false;
  std::optional<TimePoint> own_reader_until_{};
};

}  // namespace redlatch::detail
