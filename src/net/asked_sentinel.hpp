#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>

#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "net/detached_call.hpp"
#include "net/sentinel_subscription.hpp"
#include "net/sentinel_view.hpp"

namespace redlatch::detail {

/// What a client knows of one Sentinel besides its word on the primary (`SentinelView`): which
/// questions are under way, whether it answers, and whether it has to be asked again.
///
/// **Questions.** Each question is a call on a thread of its own, which may hang in `map_address`.
/// A new question may begin while the last one is under way, but no third one (`has_hung`). What
/// comes of a question is noted when it comes, also if a newer one has begun meanwhile.
///
/// **Owing an answer.** A Sentinel that has told of something, and one to which the client begins
/// or ceases to listen, owes an answer until it names the primary in answer to a question that
/// began later. An answer to an earlier question may be older than what the Sentinel has told of.
///
/// **Failovers.** A Sentinel that has told of a failover tells of it until the topology forgets
/// that: as the Sentinel has answered, as the server that was promoted is known, or as the Sentinel
/// cannot be asked any more and others have heard of all that it knew.
///
/// It reads no clock. The topology's mutex guards it.
class AskedSentinel {
 public:
  /// What became of one question; neither answer nor failure: memory was out.
  struct Outcome {
    std::optional<SentinelAnswer> answer{};
    std::optional<IoError> failure{};
    bool was_short = false;  // this process was, of descriptors: the Sentinel was not asked
    bool names_primary() const { return answer && answer->primary; }
    bool says_nothing() const { return !answer && (!failure || was_short); }
  };
  using Asking = DetachedCall<Outcome>;

  /// `settings`: to connect to it.
  AskedSentinel(Address address, std::shared_ptr<const Settings> settings);

  const Address& address() const noexcept { return address_; }
  const std::shared_ptr<const Settings>& settings() const noexcept { return settings_; }

  /// The last question, perhaps under way; null: it was not asked, or that was forgotten.
  const std::shared_ptr<Asking>& asking() const noexcept { return asking_; }
  bool is_asked() const noexcept { return asking_ && !asking_->is_finished(); }
  bool was_asked_since(TimePoint time) const noexcept {
    return asking_ && asking_->begun() >= time;
  }
  /// The last question is over, and it has named the primary.
  bool has_answered() const;
  /// For want of a thread, a descriptor or memory.
  bool could_not_be_asked() const;
  /// Of threads that are in `map_address`, which may hang, two are enough.
  bool has_hung() const noexcept { return is_asked() && earlier_ && !earlier_->is_finished(); }
  /// Whether a new question is to begin now: the last one began before `since`, or is not new. It
  /// is if it began less than `AskingThreads::fresh_for` ago, or is under way and began behind all
  /// that the Sentinel owes an answer for. One that could not be asked is asked again when that was
  /// not just now.
  bool is_to_be_asked(std::optional<TimePoint> since, TimePoint now) const;
  /// Whether its answer to a question from `from` on may be waited for: it has not failed the last
  /// time, and has not had its time. A question that is in `map_address` has `max_mapping` for it,
  /// behind `counted_from`; one from before `from`, which keeps it from being asked, behind its
  /// begin.
  bool is_awaited(TimePoint from, TimePoint counted_from, TimePoint now,
                  TimePoint::duration max_mapping) const;

  /// Behind `forget_question`.
  void note_question(std::shared_ptr<Asking> asking) noexcept { asking_ = std::move(asking); }
  /// The next question may begin, also if one is under way.
  void forget_question() noexcept;
  /// This process was stopped until then: if it was asked between the two times and has not named
  /// the primary, it had no time.
  void forget_failure(TimePoint from, TimePoint until);
  /// One more thread is in `map_address`, or one less (-1).
  void note_mapping(int change) noexcept { mapping_ = std::max(mapping_ + change, 0); }
  /// It has named the primary in answer to a question that began then.
  void note_answer(TimePoint begun) noexcept;
  /// It has not. `why`: see `why_unanswered`.
  void note_failure(TimePoint begun, std::string why) noexcept;
  bool has_named_since(TimePoint time) const noexcept { return named_ >= time; }
  bool has_failed_since(TimePoint time) const noexcept { return failed_ >= time; }

  void owe_answer(TimePoint now) noexcept { owes_since_ = now; }
  bool owes_answer() const noexcept { return owes_since_ != TimePoint{}; }
  /// Why the last question to it has failed; empty if there was none since it owes an answer.
  std::string why_unanswered() const;
  /// It owes an answer that is worth repeating the question.
  bool is_to_be_asked_again() const noexcept {
    return owes_answer() && (subscription_.is_open() || tells_failover_ || has_broken_off());
  }

  SentinelSubscription& subscription() noexcept { return subscription_; }
  const SentinelSubscription& subscription() const noexcept { return subscription_; }
  bool is_listened_to() const noexcept { return subscription_.is_open() && !owes_answer(); }
  /// One that is being asked shows first whether it answers.
  bool may_be_subscribed_to() const noexcept {
    return !is_asked() && !subscription_.is_open() && !subscription_.is_opening();
  }
  /// The connection on which it was listened to has ended just now.
  void note_break(TimePoint now) noexcept;
  /// It answers, but was not asked since that end.
  bool has_broken_off() const noexcept {
    return answers_ && std::max(named_, failed_) < broke_off_at_;
  }
  /// Its connection may have ended in front of a failover of which the others have not heard yet.
  bool may_hide_failover(TimePoint now) const noexcept {
    return has_broken_off() && now < broke_off_at_ + hello_period;
  }

  /// It has told of a failover, and it is not known yet what has come of that.
  bool tells_failover() const noexcept { return tells_failover_; }
  /// Has told of the same failover already. `promoted`: none if the message has another form.
  bool tells_failover_to(const std::optional<Address>& promoted) const noexcept {
    return tells_failover_ && promoted_ == promoted;
  }
  /// It owes an answer, to a new question.
  void note_failover(std::optional<Address> promoted) noexcept;
  void forget_failover() noexcept { tells_failover_ = false; }
  /// It has answered since it told of the failover, or the server that was promoted is `primary`.
  bool has_shown(const std::optional<Address>& primary) const noexcept {
    return !owes_answer() || (promoted_ && promoted_ == primary);
  }
  /// From when on all Sentinels have heard of what it has told of.
  TimePoint all_know_at() const noexcept { return owes_since_ + hello_period; }

  void before_fork() const;
  void after_fork_in_parent() const;
  void after_fork_in_child() noexcept;

 private:
  /// Sentinels tell each other of their configurations that often. Source: the Redis documentation,
  /// "High availability with Redis Sentinel", "Sentinels and replicas auto discovery".
  static constexpr std::chrono::seconds hello_period{2};

  Address address_;
  std::shared_ptr<const Settings> settings_;
  std::shared_ptr<Asking> asking_{};   // the last time, perhaps under way
  std::shared_ptr<Asking> earlier_{};  // which was under way when `asking_` began
  int mapping_ = 0;                    // threads that are in `map_address`
  bool answers_ = true;                // or is not known to be silent
  TimePoint named_{};      // when the last question began to which it has named the primary
  TimePoint failed_{};     // when the last one began to which it has not
  std::string failure_{};  // why not
  SentinelSubscription subscription_{};
  TimePoint broke_off_at_{};     // the end of the last connection on which it was listened to
  TimePoint owes_since_{};       // an answer, as it has told of something or is listened to again
  bool tells_failover_ = false;  // which it has not been asked about yet
  std::optional<Address> promoted_{};  // whom it has told of
};

}  // namespace redlatch::detail
