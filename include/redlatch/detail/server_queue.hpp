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
#include <redlatch/detail/lease_operations.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/queue.hpp>

namespace redlatch::detail {

/// What is said in the queue at the server for one lock, by whoever has its place, and what follows
/// from the answers. Messages only make it faster: everything happens at its time, too.
template <class Protocol>
class ServerQueue {
 public:
  ServerQueue(LeaseOperations<Protocol>& operations, const LockOptions& options)
      : operations_(operations), options_(options) {}

  /// When there is something to say, should there be no news until then.
  TimePoint due() const noexcept { return due_; }

  enum class Outcome { held, waits, refused, deadlocks };
  /// Says what is due. `refused`: the server has no queue for us, and the place no entry, nor has
  /// it one when waiting would be for its own thread. Throws `Error` when the server does not
  /// answer, or the lock cannot be had.
  Outcome speak(Waiter& waiter, const Address& address) {
    due_ = executor().now();
    channel_ = address.channel;
    if (waiter.is_granted()) return claim(waiter.withdraw(Ending::settled));
    const bool joins = waiter.entry() == nullptr;
    // Of an entry that was not refreshed in time, it says nothing of our connection that it is
    // gone.
    const TimePoint expiry = joins ? TimePoint::max() : entry_expiry(*waiter.entry());
    const QueueStatus status = joins ? join(waiter) : stay(waiter, address);
    if (!status) return Outcome::refused;
    switch (*status) {
      case protocol::QueueStatus::granted:
        return claim(waiter.withdraw(Ending::settled));
      case protocol::QueueStatus::notified:
        return claim(waiter.withdraw(Ending::notified));
      case protocol::QueueStatus::gone:
        leave(waiter.withdraw(executor().now() < expiry ? Ending::gone : Ending::settled));
        // To join again; not in a hurry where a server forgets entries as soon as it has them.
        due_ = executor().now() + (joins ? backoff_.next({}) : TimePoint::duration::zero());
        return Outcome::waits;
      case protocol::QueueStatus::deadlock:
        static_cast<void>(waiter.withdraw(Ending::settled));
        return Outcome::deadlocks;
      case protocol::QueueStatus::own_reader:
        if (!waits_for_itself()) return Outcome::waits;
        leave(waiter);
        return Outcome::deadlocks;
      case protocol::QueueStatus::queued:
      case protocol::QueueStatus::first:
        break;
    }
    return Outcome::waits;
  }

  /// Gives the place in the queue up, and the lock, if it is granted by now.
  void leave(Waiter& waiter) noexcept {
    if (waiter.entry() != nullptr) leave(waiter.withdraw(Ending::settled));
  }
  void leave(LeasePtr entry) noexcept {
    if (entry) executor().post(key(), cleanup(*entry));
  }

 private:
  using Ending = Waiter::Ending;
  using QueueStatus = std::optional<protocol::QueueStatus>;

  /// So long the first does without having the key watched: most holders are gone by then.
  static constexpr std::chrono::milliseconds unwatched{2};

  Executor& executor() const noexcept { return operations_.executor(); }
  const std::string& key() const noexcept { return operations_.protocol().key(); }
  protocol::QueueEntry queue_entry(const Lease& entry) const noexcept {
    return {.value = entry.value(), .ttl = options_.ttl, .channel = channel_};
  }
  CleanupRelease cleanup(const Lease& entry) const noexcept {
    return {operations_.protocol().dequeue(queue_entry(entry), entry.queued_until()), options_.ttl};
  }

  /// With a token of its own, which is never used for another entry.
  QueueStatus join(Waiter& waiter) {
    waiter.enter(operations_.new_lease(options_));
    waiter.forget_changes();
    const CleanupRelease cleanup = this->cleanup(*waiter.entry());
    try {
      const protocol::Command command =
          operations_.protocol().enqueue(queue_entry(*waiter.entry()));
      const QuorumReply quorum_reply = operations_.ask({&command, 1}, &cleanup);
      if (const auto status = standing_in(quorum_reply, waiter)) {
        due_ += is_first_ ? unwatched : refresh_period();
        return status;
      }
      if (quorum_reply.may_have_acted()) executor().post(key(), cleanup);
      refuse(waiter, quorum_reply.error(key()));
    } catch (...) {
      static_cast<void>(waiter.withdraw(Ending::settled));
      throw;
    }
    static_cast<void>(waiter.withdraw(Ending::settled));
    return std::nullopt;
  }

  /// The first has the key watched as well, for holders that know of no queue.
  QueueStatus stay(Waiter& waiter, const Address& address) {
    waiter.forget_changes();
    const bool watches = is_first_ && address.subscriber != 0;
    const std::array commands{operations_.protocol().refresh(queue_entry(*waiter.entry()),
                                                             waiter.entry()->queued_until()),
                              protocol::track(address.subscriber), protocol::track_next(),
                              operations_.protocol().ask_ttl()};
    // What is not answered may be carried out later, when the lock is granted and extended.
    const QuorumReply quorum_reply = operations_.ask_about(
        *waiter.entry(), std::span(commands).first(watches ? commands.size() : 1), options_.ttl);
    const QueueStatus status = standing_in(quorum_reply, waiter);
    if (!status) {
      refuse(waiter, quorum_reply.error(key()));
      leave(waiter);
      return status;
    }
    const bool watched = is_done(quorum_reply.reply(1)) && is_done(quorum_reply.reply(2));
    const auto remaining_ttl = protocol::life_in(quorum_reply.reply(3));
    TimePoint::duration pause = refresh_period();
    if (watched && remaining_ttl) pause = std::min(pause, backoff_.just_past(*remaining_ttl));
    if (is_first_ && !watched) pause = std::min(pause, backoff_.next(remaining_ttl));
    due_ += pause;
    return status;
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
  QueueStatus standing_in(const QuorumReply& quorum_reply, Waiter& waiter) {
    quorum_reply.learn_extended(*waiter.entry(), options_.ttl, stands);
    const protocol::Reply* const reply = quorum_reply.reply(0);
    if (reply == nullptr) throw quorum_reply.error(key());
    if (reply->is_error()) return std::nullopt;
    const protocol::QueueStatus status = protocol::status(*reply);
    // The end of a reader of its own is waited for as by the first.
    is_first_ =
        status == protocol::QueueStatus::first || status == protocol::QueueStatus::own_reader;
    if (status != protocol::QueueStatus::gone) {
      waiter.entry()->queue_until(protocol::expiry(*reply));
    }
    return status;
  }
  static protocol::Vote stands(const protocol::Reply& reply) noexcept {
    if (reply.is_error()) return protocol::Vote::refused;
    return protocol::status(reply) == protocol::QueueStatus::gone ? protocol::Vote::no
                                                                  : protocol::Vote::yes;
  }

  /// Throws what another way of asking would be told as well.
  static void refuse(Waiter& waiter, const Error& error) {
    if (is_ridden_out(error) || error.code() == Errc::wrong_type ||
        error.code() == Errc::invalid_argument) {
      throw error;
    }
    waiter.refuse_queue();
  }

  /// Takes the lease that the server has granted, if it is still ours.
  Outcome claim(LeasePtr entry) {
    const CleanupRelease cleanup = this->cleanup(*entry);
    entry->renew_for(operations_.schedule(options_));
    bool is_ours = false;
    try {
      is_ours = is_claimed(*entry, cleanup);
    } catch (...) {
      executor().post(key(), cleanup);
      throw;
    }
    if (is_ours) {
      operations_.take(std::move(entry), options_, cleanup);
      return Outcome::held;
    }
    executor().post(key(), cleanup);
    due_ = executor().now();
    return Outcome::waits;
  }

  /// Has a message of its own to the server only when there is something to draw, or too little
  /// validity left.
  bool is_claimed(Lease& entry, const CleanupRelease& cleanup) {
    const bool stale = entry.valid_until() - executor().now() < options_.ttl / 2;
    if (!options_.fencing && !stale) return true;
    const protocol::Command claim = operations_.protocol().claim(entry.value(), options_.ttl);
    const QuorumReply quorum_reply = operations_.ask({&claim, 1}, &cleanup);
    // A counter of another kind is no loss, and would be there the next time, too.
    const protocol::Vote vote =
        quorum_reply.vote(options_.fencing ? protocol::vote : protocol::ours);
    if (vote == protocol::Vote::refused) throw quorum_reply.error(key());
    if (vote == protocol::Vote::no) return false;
    quorum_reply.learn_given(entry, options_.ttl, protocol::vote);
    if (options_.fencing) entry.fence(static_cast<std::uint64_t>(quorum_reply.number()));
    return true;
  }

  /// When the entry expires unless it is refreshed.
  TimePoint entry_expiry(const Lease& entry) const noexcept {
    return entry.valid_until() + drift(options_.ttl) - options_.ttl +
           protocol::entry_life(options_.ttl);
  }
  TimePoint::duration refresh_period() const noexcept {
    return protocol::refresh_period(options_.ttl);
  }

  LeaseOperations<Protocol>& operations_;
  const LockOptions& options_;
  Backoff backoff_{};
  std::string_view channel_{};
  TimePoint due_{};
  bool is_first_ = false;
  std::optional<TimePoint> own_reader_until_{};
};

}  // namespace redlatch::detail
