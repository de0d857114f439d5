#include "engine/multiplexer.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <utility>

#include "engine/shared_question.hpp"

namespace redlatch::detail {

namespace {

// A connection that was used so lately is not looked at before it is used again, which would cost
// a system call: one with answers to come, and one on which all has been said.
constexpr std::chrono::microseconds fresh{100};
constexpr std::chrono::microseconds just_used{10};
constexpr std::chrono::milliseconds lately{5};

// However short its lease, a renewal has so long to be answered before its connection is given up.
constexpr std::chrono::milliseconds min_patience{50};

/// How long the server may take to answer: a renewal has to go out again before its lease is over.
/// A little less than command_timeout, so that a caller that gave up leaves no connection for the
/// next one to try.
std::chrono::nanoseconds patience_for(const Exchange& one, std::chrono::milliseconds usual) {
  const std::chrono::nanoseconds all = usual * 7 / 8 + one.blocks;
  if (!one.is_renewal) return all;
  return std::min<std::chrono::nanoseconds>(all, std::max(min_patience, one.renewal.ttl / 3));
}

/// How long a server is taken to lack a command that releases need.
constexpr std::chrono::minutes no_releases_for{1};

std::atomic<std::uint64_t> last_connection = 0;

/// How much longer than its own time a request may be kept waiting by others with the same
/// question.
constexpr std::chrono::milliseconds share_slack{100};

}  // namespace

void Line::connected_by(std::unique_ptr<Session> session,
                        std::shared_ptr<const void> life) noexcept {
  pipeline_.session = std::move(session);
  pipeline_.life = std::move(life);
  outdated_.reset();
  no_releases_.reset();
  missing_from_ = TimePoint::max();
  texts_sent_ = 0;
  number_ = ++last_connection;
  if (pipeline_.session) pipeline_.session->settle_down();
  used_ = connected_at_ = BootClock::now();
}

void Line::note_end(std::error_code why) const noexcept {
  aftermath_.happened(EventKind::disconnected, {}, connected_at_, why);
}

void Line::refresh(TimePoint now, Look look) {
  read_before_judging();
  drop_outdated();
  if (!connected()) return;
  const auto idle = now - used_;
  if (!all_answered()) {
    if (is_stale()) return retire_if_stale();
    if (idle < fresh) return;
    used_ = now;
    take_in();
    if (!all_answered()) return;
  }
  const Session& session = *pipeline_.session;
  const auto unseen = look == Look::seldom ? TimePoint::duration(lately) : just_used;
  if (!session.in_step() || (idle >= unseen && !session.quiet())) {
    note_end(session.in_step() ? std::error_code() : make_error_code(Errc::protocol_error));
    pipeline_ = {};
  }
}

void Line::read_before_judging() {
  if (!is_overdue()) return;
  take_in();
  if (!is_overdue() || missing_from_ != TimePoint::max()) return;
  // Counted from the end of the callers' time, which is a little later.
  missing_from_ = BootClock::now() + grace_for(age() - patience() * 8 / 7);
}

bool Line::is_stale() const noexcept {
  return missing_from_ != TimePoint::max() && is_overdue() && BootClock::now() >= missing_from_;
}

bool Line::is_overdue() const noexcept { return !all_answered() && age() >= patience(); }

/// These two are for lines on which something is unanswered.
TimePoint::duration Line::age() const noexcept {
  return BootClock::now() - pipeline_.unanswered.front().said;
}

TimePoint::duration Line::patience() const noexcept {
  return patience_for(pipeline_.unanswered.front(), settings_.options.command_timeout);
}

void Line::drop_outdated() noexcept {
  if (!outdated_ || !connected() || !all_answered() || to_mend()) return;
  note_end(make_error_code(*outdated_));
  pipeline_.session->avoid_address();
  aftermath_.server_changed();
  let_be_overtaken();
  pipeline_ = {};
  outdated_.reset();
}

void Line::note_verdict(const Exchange& one) noexcept {
  for (std::size_t i = 0; i < one.replies.size(); ++i) {
    const protocol::Reply& reply = one.replies[i];
    if (!reply.is_error() || !protocol::concerns_connection(reply.text)) continue;
    if (schedule_.is_trusted(BootClock::now())) return;
    outdated_ = protocol::classify(reply.text);
    if (one.caller != nullptr) one.caller->outdated = true;
  }
}

void Line::note_release(const Exchange& one) noexcept {
  const protocol::Reply& reply = one.replies.front();
  if (!reply.is_error() && !no_releases_) return;  // nearly always
  const protocol::Script* const script = one.command(0).script();
  if (script == nullptr || script->effect != protocol::Script::Effect::remove) return;
  no_releases_.reset();
  if (!reply.is_error() || protocol::classify(reply.text) != Errc::unsupported) return;
  try {
    no_releases_.emplace(Errc::unsupported,
                         "no lock could be given up again: " + protocol::explain(reply.text));
    no_releases_until_ = BootClock::now() + no_releases_for;
  } catch (const std::bad_alloc&) {
    // The next release says it again.
  }
}

/// Whether it asks for a lock that could not be given up.
bool Line::is_for_ever(const Caller& caller) const noexcept {
  if (!no_releases_ || caller.request.undo == nullptr || BootClock::now() >= no_releases_until_) {
    return false;
  }
  const protocol::Script* const release = caller.request.undo->command.script();
  return release != nullptr && release->effect == protocol::Script::Effect::remove;
}

void Line::retire_if_stale() noexcept {
  if (awaited() || !is_stale()) return;
  open_mending();
  let_be_overtaken();
  for (Exchange& one : pipeline_.unanswered) {
    if (!std::exchange(one.is_renewal, false)) continue;
    aftermath_.renewal_failed(one.renewal, one.said, make_error_code(Errc::timed_out));
  }
  note_end(make_error_code(Errc::timed_out));
  aftermath_.adopt(std::exchange(pipeline_, {}));
}

void Line::break_off(const IoError* why) noexcept {
  const auto sent = connected() ? pipeline_.session->sent() : 0;
  const std::error_code code =
      why != nullptr ? make_error_code(why->code()) : make_error_code(std::errc::not_enough_memory);
  if (connected()) note_end(code);
  for (Exchanges* list : {&mend_, &pipeline_.unanswered}) {
    fail_renewals(*list, code);
    while (!list->empty()) {
      const auto one = list->begin();
      if (one->is_release) {
        one->release.broke(why == nullptr ? Errc::unreachable : why->code(), BootClock::now());
        aftermath_.open(*list, one);
      } else if (one->caller != nullptr) {
        one->caller->in_doubt = sent >= one->change_ends;
        one->caller->broken = true;
        if (one->caller->in_doubt) note_sent(*one);
        --waiting_;
        fail(*list, one, why);
      } else {
        pool_.put_away(*list, one);
      }
    }
  }
  // What is in doubt must not be delivered late, with nothing behind it to undo it.
  if (connected()) pipeline_.session->discard();
  pipeline_ = {};
  let_be_overtaken();
}

/// In a forked child. What another thread of the parent was changing cannot be taken apart.
void Line::abandon(bool in_use) noexcept {
  if (connected()) pipeline_.session->abandon();
  if (in_use) {
    static_cast<void>(pipeline_.session.release());
    std::construct_at(&pipeline_);
    std::construct_at(&mend_);
  }
  pipeline_ = {};
  mend_.clear();
  queue_.clear();
  waiting_ = 0;
  to_wake_.clear();
  outdated_.reset();
  schedule_.after_fork_in_child(static_cast<std::uint32_t>(::getpid()));
}

void Line::queue(Caller& caller) {
  caller.exchange = pool_.take(queue_);
  caller.exchange->caller = &caller;
  caller.exchange->route = settings_.routes->pin(caller.request.key);
  if (caller.exchange->is_to_block()) caller.exchange->queued_at = BootClock::now();
}

void Line::queue(std::string_view key, const Undo& undo) {
  Exchanges one;
  pool_.take(one)->is_release = true;
  one.front().release.begin(key, undo, BootClock::now());
  one.front().route = settings_.routes->pin(key);
  queue_.splice(queue_.end(), one);
}

void Line::queue(Tenure& renewed) {
  Exchanges one;
  pool_.take(one)->renewal.begin(renewed);
  one.front().is_renewal = true;
  one.front().route = settings_.routes->pin(renewed.key());
  one.front().said = TimePoint{};
  queue_.splice(queue_.end(), one);
}

SharedQuestion Line::shared_question() noexcept {
  return SharedQuestion(pipeline_, std::min(settings_.options.command_timeout / 2, share_slack));
}

bool Line::say_queued(Whose whose, TimePoint now) {
  bool said = false;
  SharedQuestion question = shared_question();
  for (auto next = queue_.begin(); next != queue_.end();) {
    const auto one = next++;
    one->renewal.connection = number_;
    if (one->caller != nullptr) {
      if (whose != Whose::everybodys) continue;
      if (is_for_ever(*one->caller)) {
        fail(queue_, one, &*no_releases_);
        continue;
      }
      if (pipeline_.session->converses(one->caller->request.commands)) break;
      if (one->is_to_block() && !question.takes(*one)) continue;  // in the next batch
      ++waiting_;
    } else if (one->is_renewal && whose == Whose::releases) {
      continue;
    } else if (one->is_renewal && !aftermath_.wants(one->renewal)) {
      pool_.put_away(queue_, one);
      continue;
    } else if (converses(one->command(0))) {
      one->begin(now);
      one->repeat = true;
      one->place = Exchange::Place::mend;
      mend_.splice(mend_.end(), queue_, one);
      continue;
    }
    said = true;
    one->retried = false;
    if (one->is_to_block()) {
      question.add(queue_, one, now);
      continue;
    }
    question.ask();
    pipeline_.append(queue_, one, now);
  }
  question.ask();
  if (said) used_ = now;
  return said;
}

void Line::read(TimePoint end, Guard& guard) {
  {
    const Unlocked unlocked(guard);
    pipeline_.session->flush(end);
    pipeline_.session->wait(end);
    pipeline_.collect();
  }
  used_ = BootClock::now();
  deliver();
}

void Line::take_in() {
  pipeline_.take_in();
  deliver();
}

void Line::deliver() noexcept {
  Exchanges& unanswered = pipeline_.unanswered;
  while (!unanswered.empty() && unanswered.front().complete()) {
    Exchange& one = unanswered.front();
    missing_from_ = TimePoint::max();
    one.repeat = !one.is_abandoned() && one.depends_on(mend_);
    if (one.is_abandoned() || (!one.repeat && !one.was_refused())) {
      for (Exchange& refused : mend_) refused.superseded |= one.supersedes(refused);
      answer(unanswered);
      continue;
    }
    one.place = Exchange::Place::mend;
    if (!one.is_in_doubt()) one.change_ends = Connection::nowhere;
    // What is refused once more was said before all that has not been said again.
    const auto place = one.retried
                           ? std::find_if(mend_.begin(), mend_.end(),
                                          [](const Exchange& other) { return !other.retried; })
                           : mend_.end();
    mend_.splice(place, unanswered, unanswered.begin());
    texts_sent_ = 0;
  }
}

Caller* Line::next_leader() const noexcept {
  for (const Exchanges* list : {&mend_, &pipeline_.unanswered, &queue_}) {
    if (list == &pipeline_.unanswered && !awaited()) continue;
    for (const Exchange& one : *list) {
      if (one.caller != nullptr && one.caller->bell == nullptr) return one.caller;
    }
  }
  return nullptr;
}

Line::Owed Line::owed(const Keys& keys) const noexcept {
  Owed owed;
  for (const Exchanges* list : {&mend_, &pipeline_.unanswered, &queue_}) {
    for (const Exchange& one : *list) {
      owed.release |= one.gives_up(keys);
      owed.several |= one.is_release && Keys::are_several(one.release.command());
    }
  }
  return owed;
}

/// Hands its replies to the first exchange of the list.
void Line::answer(Exchanges& from) noexcept {
  const auto one = from.begin();
  note_verdict(*one);
  if (!one->is_abandoned()) note_release(*one);
  if (one->is_nobodys()) {
    if (!aftermath_.answered(from, one, settings_.options.command_timeout)) return;
  } else if (one->caller != nullptr) {
    one->caller->response.replies = std::move(one->replies);
    note_sent(*one);
    one->caller->response.cut_short = one->cut_short;
    --waiting_;
    to_wake_.finish(*one->caller);
  }
  pool_.put_away(from, one);
}

void Line::note_sent(const Exchange& one) const noexcept {
  one.caller->response.sent = one.said;
  one.caller->response.connection = number_;
}

void Line::give_up(Caller& caller, Errc code, const char* why) noexcept {
  const auto one = caller.exchange;
  const bool said = one->place != Exchange::Place::queue;
  caller.in_doubt = said && one->change_ends != Connection::nowhere;
  if (caller.in_doubt) note_sent(*one);
  try {
    if (caller.in_doubt && caller.request.undo != nullptr && caller.bell == nullptr) {
      queue(caller.request.key, *caller.request.undo);
    }
    caller.failure.emplace(code, why);
  } catch (const std::bad_alloc&) {
    caller.out_of_memory = true;
  }
  if (said) --waiting_;
  if (one->place == Exchange::Place::unanswered) {
    one->caller = nullptr;  // its answers are still to come
  } else {
    pool_.put_away(said ? mend_ : queue_, one);
  }
  caller.state = Caller::State::done;  // it is this very thread
}

/// What is queued will go out on another connection than what it takes back.
void Line::let_be_overtaken() noexcept {
  for (Exchange& one : queue_) {
    if (one.is_release) one.release.may_be_overtaken(pipeline_.life);
  }
}

bool Line::has_renewals() const noexcept {
  return std::any_of(queue_.begin(), queue_.end(),
                     [](const Exchange& one) { return one.is_renewal; });
}

/// They are said again when they are due again.
void Line::fail_renewals(Exchanges& from, std::error_code why) noexcept {
  for (auto next = from.begin(); next != from.end();) {
    const auto one = next++;
    if (!one->is_renewal) continue;
    aftermath_.renewal_failed(one->renewal, one->said, why);
    pool_.put_away(from, one);
  }
}

void Line::fail_queued(Caller& caller, const IoError* why) noexcept {
  fail(queue_, caller.exchange, why);
}

void Line::fail_queued(const IoError& why) noexcept {
  open_releases(why.code());
  while (!queue_.empty()) fail(queue_, queue_.begin(), &why);
}

void Line::fail(Exchanges& from, Exchanges::iterator one, const IoError* why) noexcept {
  to_wake_.fail(*one->caller, why);
  pool_.put_away(from, one);
}

void Line::nudge_queued() noexcept {
  for (const Exchange& one : queue_) {
    if (one.caller == nullptr || one.caller->leads()) continue;
    ++one.caller->posts;
    if (one.caller->bell != nullptr) one.caller->bell->ring();
    one.caller->turn.post();
  }
}

void Line::open_releases(Errc why) noexcept {
  if (connected()) return;  // what is refused keeps its turn
  open_mending();
  fail_renewals(queue_, make_error_code(why));
  for (Exchange& one : queue_) {
    if (!one.is_release) continue;
    one.release.failed(why, BootClock::now());
    one.release.wait_until(schedule_.next());
  }
  aftermath_.open_releases(queue_);
}

void Line::open_mending() noexcept {
  fail_renewals(mend_, make_error_code(Errc::timed_out));
  for (Exchange& one : mend_) {
    if (!one.is_release) continue;
    one.release.needs_conversation(BootClock::now());
    if (!all_answered()) one.release.may_be_overtaken();
  }
  aftermath_.open_releases(mend_);
}

}  // namespace redlatch::detail
