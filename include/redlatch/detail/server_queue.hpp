#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
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

/// The entry of one waiter in the queue at the server: enters, refreshes, claims the grant and
/// leaves. Everything happens on timers; messages of the server only make it faster.
template <class Protocol>
class ServerQueue {
 public:
  /// `stop`: as of a `Request`.
  ServerQueue(LeaseOperations<Protocol>& operations, const LockOptions& options,
              const std::stop_token& stop)
      : operations_(operations), options_(options), stop_(stop) {}

  /// When the next command is due, unless there is news before.
  TimePoint due() const noexcept { return due_; }

  /// The outcome of one step. `held`: the lock is ours. `waits`: there is an entry, or a new one is
  /// due. `refused`: the server lets us have no queue, and there is no entry. `deadlocks`: the
  /// thread would wait for itself, and there is no entry.
  enum class Outcome { held, waits, refused, deadlocks };
  /// Sends the command that is due. Throws `Error` if the server does not answer, or the lock
  /// cannot be had.
  Outcome speak(Waiter& waiter, const GrantAddress& address) {
    due_ = executor().now();
    channel_ = address.channel;
    if (waiter.is_granted()) return claim(waiter.withdraw(Ending::settled));
    const bool enters = waiter.entry() == nullptr;
    // If the entry had expired before its refresh, its absence shows nothing about the
    // subscription.
    const TimePoint expiry = enters ? TimePoint::max() : entry_expiry(*waiter.entry());
    const QueueStatus status = enters ? enter(waiter) : refresh(waiter, address);
    if (!status) return Outcome::refused;
    switch (*status) {
      case protocol::QueueStatus::granted:
        return claim(waiter.withdraw(Ending::settled));
      case protocol::QueueStatus::notified:
        return claim(waiter.withdraw(Ending::notified));
      case protocol::QueueStatus::gone:
        leave(waiter.withdraw(executor().now() < expiry ? Ending::gone : Ending::settled));
        // A new entry is due at once; after a pause if even the entry just made is gone.
        due_ = executor().now() + (enters ? backoff_.next({}) : TimePoint::duration::zero());
        return Outcome::waits;
      case protocol::QueueStatus::deadlock:
        static_cast<void>(waiter.withdraw(Ending::settled));
        return Outcome::deadlocks;
      case protocol::QueueStatus::own_reader:
        if (!operations_.is_read_by_thread()) return Outcome::waits;
        leave(waiter);
        return Outcome::deadlocks;
      case protocol::QueueStatus::queued:
      case protocol::QueueStatus::first:
        break;
    }
    return Outcome::waits;
  }

  /// Removes the entry from the queue, and releases the lock if it was granted meanwhile.
  void leave(Waiter& waiter) noexcept {
    if (waiter.entry() != nullptr) leave(waiter.withdraw(Ending::settled));
  }
  void leave(LeasePtr entry) noexcept {
    if (entry) executor().post(key(), cleanup(*entry));
  }

 private:
  using Ending = Waiter::Ending;
  using QueueStatus = std::optional<protocol::QueueStatus>;

  /// Delay before the first waiter has the key tracked: most holders have released it by then.
  static constexpr std::chrono::milliseconds untracked_time{2};

  Executor& executor() const noexcept { return operations_.executor(); }
  const std::string& key() const noexcept { return operations_.protocol().key(); }
  protocol::QueueEntry queue_entry(const Lease& entry) const noexcept {
    return {.value = entry.value(), .ttl = options_.ttl, .channel = channel_};
  }
  CleanupRelease cleanup(const Lease& entry) const noexcept {
    return {operations_.protocol().dequeue(queue_entry(entry), entry.queued_until()), options_.ttl};
  }

  QuorumReply ask(const protocol::Command& command, const CleanupRelease& cleanup) const {
    return operations_.ask({&command, 1}, &cleanup, ConnectPolicy::separate_timeout, &stop_);
  }

  /// Adds an entry, with a token that is used for no other entry.
  QueueStatus enter(Waiter& waiter) {
    waiter.enter(operations_.new_lease(options_));
    waiter.forget_changes();
    const CleanupRelease cleanup = this->cleanup(*waiter.entry());
    try {
      const protocol::Command command =
          operations_.protocol().enqueue(queue_entry(*waiter.entry()));
      const QuorumReply quorum_reply = ask(command, cleanup);
      if (const auto status = status_in(quorum_reply, waiter)) {
        due_ += is_first_ ? untracked_time : refresh_period();
        return status;
      }
      if (quorum_reply.may_have_acted()) executor().post(key(), cleanup);
      if (!is_apart(quorum_reply)) refuse(waiter, quorum_reply.error(key()));
    } catch (...) {
      static_cast<void>(waiter.withdraw(Ending::settled));
      throw;
    }
    static_cast<void>(waiter.withdraw(Ending::settled));
    return std::nullopt;
  }

  /// Refreshes the entry. The first waiter also has the key tracked, for holders that know no
  /// queue.
  QueueStatus refresh(Waiter& waiter, const GrantAddress& address) {
    waiter.forget_changes();
    const bool watches = is_first_ && address.subscriber != 0;
    const std::array commands{operations_.protocol().refresh(queue_entry(*waiter.entry()),
                                                             waiter.entry()->queued_until()),
                              protocol::track(address.subscriber), protocol::track_next(),
                              operations_.protocol().ask_ttl()};
    // A refresh without a reply may be carried out later, even behind the grant and an extension.
    const QuorumReply quorum_reply = operations_.ask_about(
        *waiter.entry(), std::span(commands).first(watches ? commands.size() : 1), options_.ttl,
        &stop_);
    const QueueStatus status = status_in(quorum_reply, waiter);
    if (!status) {
      if (!is_apart(quorum_reply)) refuse(waiter, quorum_reply.error(key()));
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

  static bool is_done(const protocol::Reply* reply) noexcept {
    return reply != nullptr && !reply->is_error();
  }

  /// The status of the entry; nothing if the command was refused. A queued or granted entry is
  /// confirmed.
  QueueStatus status_in(const QuorumReply& quorum_reply, Waiter& waiter) {
    quorum_reply.learn_extended(*waiter.entry(), options_.ttl, stands);
    const protocol::Reply* const reply = quorum_reply.reply(0);
    if (reply == nullptr) throw quorum_reply.error(key());
    if (reply->is_error()) return std::nullopt;
    const protocol::QueueStatus status = protocol::status(*reply);
    // A wait for the end of the thread's own read lock tracks the key as the first waiter does.
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

  /// Whether a cluster is moving the slot, and has the lock and its queue at different nodes: an
  /// attempt without the queue may still succeed.
  static bool is_apart(const QuorumReply& quorum_reply) noexcept {
    return protocol::redirection(*quorum_reply.reply(0)) == protocol::Redirection::apart;
  }

  /// Gives the queue up for a while; throws the errors that an attempt without a queue would get,
  /// too.
  static void refuse(Waiter& waiter, const Error& error) {
    if (is_ridden_out(error) || error.code() == Errc::wrong_type ||
        error.code() == Errc::invalid_argument) {
      throw error;
    }
    waiter.refuse_queue();
  }

  /// Accepts the lease that the server has granted, if it is still ours.
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

  /// Sends a command only if a fencing token has to be drawn, or less than half of the ttl is left.
  bool is_claimed(Lease& entry, const CleanupRelease& cleanup) {
    const bool stale = entry.valid_until() - executor().now() < options_.ttl / 2;
    if (!options_.fencing && !stale) return true;
    const protocol::Command claim = operations_.protocol().claim(entry.value(), options_.ttl);
    const QuorumReply quorum_reply = ask(claim, cleanup);
    // A fencing counter of the wrong type is an error, not a loss: every attempt would meet it.
    const protocol::Vote vote =
        quorum_reply.vote(options_.fencing ? protocol::vote : protocol::ours);
    if (vote == protocol::Vote::refused) throw quorum_reply.error(key());
    if (vote == protocol::Vote::no) return false;
    quorum_reply.learn_given(entry, options_.ttl, protocol::vote);
    if (options_.fencing) entry.fence(static_cast<std::uint64_t>(quorum_reply.number()));
    return true;
  }

  /// When the entry expires if it is not refreshed.
  TimePoint entry_expiry(const Lease& entry) const noexcept {
    return entry.valid_until() + drift(options_.ttl) - options_.ttl +
           protocol::entry_life(options_.ttl);
  }
  TimePoint::duration refresh_period() const noexcept {
    return protocol::refresh_period(options_.ttl);
  }

  LeaseOperations<Protocol>& operations_;
  const LockOptions& options_;
  const std::stop_token& stop_;
  Backoff backoff_{};
  std::string_view channel_{};
  TimePoint due_{};
  bool is_first_ = false;
};

}  // namespace redlatch::detail
