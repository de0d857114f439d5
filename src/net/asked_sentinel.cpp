#include "net/asked_sentinel.hpp"

#include "net/asking_threads.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

AskedSentinel::AskedSentinel(Address address, std::shared_ptr<const Settings> settings)
    : address_(std::move(address)), settings_(std::move(settings)) {}

bool AskedSentinel::has_answered() const {
  return asking_ && asking_->is_finished() && asking_->result().names_primary();
}

bool AskedSentinel::could_not_be_asked() const {
  return !asking_ || (asking_->is_finished() && asking_->result().says_nothing());
}

bool AskedSentinel::is_to_be_asked(std::optional<TimePoint> since, TimePoint now) const {
  if (has_hung()) return false;
  const TimePoint fresh = now - AskingThreads::fresh_for;
  if (since) return !was_asked_since(could_not_be_asked() ? std::max(*since, fresh) : *since);
  return !was_asked_since(fresh) && !(is_asked() && was_asked_since(owes_since_));
}

/// One that is not asked as two questions are under way is asked when one of them is over.
bool AskedSentinel::is_awaited(TimePoint from, TimePoint counted_from, TimePoint now,
                               TimePoint::duration max_mapping) const {
  if (!answers_) return false;
  if (could_not_be_asked()) return true;
  if (!is_asked()) return false;
  const bool is_to_be_asked = !was_asked_since(from);
  const TimePoint since = is_to_be_asked ? asking_->begun() : counted_from;
  return mapping_ == 0 || now < since + max_mapping;
}

void AskedSentinel::forget_question() noexcept {
  if (is_asked()) earlier_ = asking_;
  asking_.reset();
}

void AskedSentinel::forget_failure(TimePoint from, TimePoint until) {
  if (!was_asked_since(from) || was_asked_since(until)) return;
  if (is_asked() || has_answered()) return;
  forget_question();
  answers_ = true;
}

void AskedSentinel::note_answer(TimePoint begun) noexcept {
  answers_ = true;
  named_ = begun;
  failure_.clear();
  if (begun >= owes_since_) owes_since_ = {};
}

void AskedSentinel::note_failure(TimePoint begun, std::string why) noexcept {
  answers_ = false;
  failed_ = begun;
  failure_ = std::move(why);
}

std::string AskedSentinel::why_unanswered() const {
  return failed_ >= owes_since_ ? failure_ : std::string();
}

void AskedSentinel::note_break(TimePoint now) noexcept {
  broke_off_at_ = now;
  if (subscription_.is_silent()) answers_ = false;
}

void AskedSentinel::note_failover(std::optional<Address> promoted) noexcept {
  tells_failover_ = true;
  promoted_ = std::move(promoted);
  if (!has_hung()) forget_question();
}

void AskedSentinel::before_fork() const { settings_->topology->before_fork(); }

void AskedSentinel::after_fork_in_parent() const { settings_->topology->after_fork_in_parent(); }

void AskedSentinel::after_fork_in_child() noexcept {
  settings_->topology->after_fork_in_child();
  for (std::shared_ptr<Asking>* asking : {&asking_, &earlier_}) {
    if (*asking) (*asking)->abandon();
    asking->reset();
  }
  mapping_ = 0;
  subscription_.after_fork_in_child();
}

}  // namespace redlatch::detail
