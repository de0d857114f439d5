#include "line.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

using protocol::Form;
using protocol::Verdict;

namespace {

/// A connection that was used so lately is not looked at before it is used again.
constexpr std::chrono::microseconds fresh{100};

bool is_refused(const protocol::Reply& reply) noexcept {
  return reply.is_error() &&
         (reply.text.starts_with("NOSCRIPT") || protocol::refuses_command(reply.text));
}

}  // namespace

void Line::connected_by(std::unique_ptr<Session> session) noexcept {
  pipeline_.session = std::move(session);
  used_ = BootClock::now();
}

void Line::refresh() {
  if (!connected()) return;
  if (all_answered()) {
    if (!pipeline_.session->idle()) pipeline_.session.reset();
    return;
  }
  if (is_stale()) return retire_if_stale();
  // An answer may be there at any time, so there is less to see.
  const TimePoint now = BootClock::now();
  if (now - used_ < fresh) return;
  used_ = now;
  take_in();
}

/// A little early, so that who gave up just now leaves no connection for the next one to try.
bool Line::is_stale() const noexcept {
  const auto patience = settings_.options.command_timeout * 7 / 8;
  return !all_answered() && BootClock::now() - pipeline_.unanswered.front().said >= patience;
}

void Line::retire_if_stale() noexcept {
  if (!awaited() && !to_mend() && is_stale()) aftermath_.adopt(std::exchange(pipeline_, {}));
}

void Line::break_off(const IoError* why) noexcept {
  const auto sent = connected() ? pipeline_.session->sent() : 0;
  for (Exchanges* list : {&mend_, &pipeline_.unanswered}) {
    while (!list->empty()) {
      const auto one = list->begin();
      if (one->is_release) {
        one->release.broke(BootClock::now());
        open(*list, one);
      } else if (one->caller != nullptr) {
        one->caller->in_doubt = sent >= one->change_ends;
        one->caller->broken = true;
        --waiting_;
        fail(*list, one, why);
      } else {
        put_away(*list, one);
      }
    }
  }
  for (Exchange& one : queue_) {
    if (one.is_release) one.release.may_be_overtaken();
  }
  pipeline_.session.reset();
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
  to_wake_ = nullptr;
}

void Line::queue(Caller& caller) {
  caller.exchange = spare();
  caller.exchange->caller = &caller;
  queue_.splice(queue_.end(), spare_, caller.exchange);
}

void Line::queue(std::string_view key, const Undo& undo) {
  const auto one = spare();
  one->release.begin(key, undo, BootClock::now());
  one->is_release = true;
  queue_.splice(queue_.end(), spare_, one);
}

bool Line::say_queued(Whose whose) {
  const TimePoint now = BootClock::now();
  bool said = false;
  for (auto next = queue_.begin(); next != queue_.end();) {
    const auto one = next++;
    if (one->caller != nullptr) {
      if (whose == Whose::nobodys) continue;
      if (pipeline_.session->converses(one->caller->request.commands)) break;
      ++waiting_;
    } else if (converses(one->release.command())) {
      one->release.may_be_overtaken();
      one->release.needs_conversation(now);
      open(queue_, one);
      continue;
    }
    pipeline_.append(queue_, one, now);
    said = true;
  }
  if (said) used_ = now;
  return said;
}

void Line::flush(TimePoint end, Guard& guard) {
  guard.unlock();
  pipeline_.session->flush(end);
  guard.lock();
}

void Line::try_flush(Guard& guard) {
  guard.unlock();
  pipeline_.session->try_flush();
  guard.lock();
}

void Line::read(TimePoint end, Guard& guard) {
  guard.unlock();
  pipeline_.session->flush(end);
  pipeline_.session->wait(end);
  pipeline_.collect();
  guard.lock();
  used_ = BootClock::now();
  deliver();
}

void Line::take_in() {
  pipeline_.session->try_flush();
  while (pipeline_.session->take_in()) {
  }
  pipeline_.collect();
  deliver();
}

void Line::deliver() noexcept {
  Exchanges& unanswered = pipeline_.unanswered;
  while (!unanswered.empty() && unanswered.front().complete()) {
    Exchange& one = unanswered.front();
    if (!needs_mending(one)) {
      answer(unanswered);
      continue;
    }
    if (one.caller != nullptr) one.caller->mended = true;
    one.change_ends = Connection::nowhere;  // a refusal is certain
    mend_.splice(mend_.end(), unanswered, unanswered.begin());
  }
}

/// Also an attempt that failed only because the release before it was refused.
bool Line::needs_mending(Exchange& exchange) const noexcept {
  if (exchange.caller == nullptr && !exchange.is_release) return false;
  for (std::size_t i = 0; i < exchange.commands; ++i) {
    if (is_refused(exchange.replies[i]) && exchange.command(i).script() != nullptr) return true;
  }
  exchange.repeat =
      exchange.caller != nullptr && exchange.caller->request.undo != nullptr &&
      protocol::verdict(exchange.replies.front()) == Verdict::no &&
      std::any_of(mend_.begin(), mend_.end(), [&](const Exchange& refused) {
        return refused.is_release && refused.release.key() == exchange.caller->request.key;
      });
  return exchange.repeat;
}

void Line::mend(TimePoint end, Guard& guard) {
  while (!mend_.empty()) {
    Exchange& one = mend_.front();
    if (one.caller == nullptr && !one.is_release) {  // who asked has given up
      put_away(mend_, mend_.begin());
      continue;
    }
    Session* const session = pipeline_.session.get();
    talk(one, guard, [&] {
      if (one.repeat) {
        one.said = BootClock::now();
        return session->run(one.caller->request.commands, one.replies, end);
      }
      for (std::size_t i = 0; i < one.commands; ++i) {
        one.replies[i] =
            session->mend(one.command(i), one.forms[i], std::move(one.replies[i]), end);
      }
    });
    if (!connected()) return;
    answer(mend_);
  }
}

void Line::converse(Caller& caller, TimePoint end, Guard& guard) {
  const auto one = caller.exchange;
  one->begin(BootClock::now());
  pipeline_.unanswered.splice(pipeline_.unanswered.end(), queue_, one);
  ++waiting_;
  talk(*one, guard, [&] { pipeline_.session->run(caller.request.commands, one->replies, end); });
  if (!caller.done()) answer(pipeline_.unanswered);
}

/// Has a conversation, in which the connection breaks with whatever fails.
template <class Conversation>
void Line::talk(Exchange& about, Guard& guard, Conversation conversation) {
  guard.unlock();
  std::optional<IoError> failure;
  try {
    conversation();
    guard.lock();
    used_ = BootClock::now();
    return;
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // Then there is no error to tell.
  }
  guard.lock();
  if (pipeline_.session->in_doubt()) about.change_ends = 0;
  break_off(failure ? &*failure : nullptr);
}

Caller* Line::converses() const noexcept {
  Caller* const first = queue_.front().caller;
  return first != nullptr && pipeline_.session->converses(first->request.commands) ? first
                                                                                   : nullptr;
}

bool Line::converses(const protocol::Command& command) const noexcept {
  return pipeline_.session->form_of(command) == Form::watch;
}

Caller* Line::next_leader() const noexcept {
  for (const Exchanges* list : {&mend_, &pipeline_.unanswered, &queue_}) {
    if (list == &pipeline_.unanswered && !awaited()) continue;
    for (const Exchange& one : *list) {
      if (one.caller != nullptr) return one.caller;
    }
  }
  return nullptr;
}

/// Hands its replies to the first exchange of the list.
void Line::answer(Exchanges& from) noexcept {
  const auto one = from.begin();
  if (one->is_release) {
    const auto fate = one->release.answered(one->replies.front(), settings_.options.command_timeout,
                                            BootClock::now());
    if (!fate) return open(from, one);
    if (*fate != Fate::done) aftermath_.ended(one->release, *fate);
  } else if (one->caller != nullptr) {
    one->caller->response.replies = std::move(one->replies);
    one->caller->response.sent = one->said;
    --waiting_;
    finish(*one->caller);
  }
  put_away(from, one);
}

void Line::give_up(Caller& caller, Errc code, const char* why) noexcept {
  const auto one = caller.exchange;
  const bool said = one->said != TimePoint{};
  caller.in_doubt = said && one->change_ends != Connection::nowhere;
  try {
    caller.failure.emplace(code, why);
    if (caller.in_doubt && caller.request.undo != nullptr) {
      queue(caller.request.key, *caller.request.undo);
    }
  } catch (const std::bad_alloc&) {
    caller.out_of_memory = true;
  }
  if (said) {
    one->caller = nullptr;
    --waiting_;
  } else {
    put_away(queue_, one);
  }
  caller.state = Caller::State::done;  // it is this very thread
}

void Line::fail_queued(Caller& caller, const IoError* why) noexcept {
  fail(queue_, caller.exchange, why);
}

void Line::fail_queued(const IoError& why) noexcept {
  open_releases(queue_);
  while (!queue_.empty()) fail(queue_, queue_.begin(), &why);
}

void Line::fail(Exchanges& from, Exchanges::iterator one, const IoError* why) noexcept {
  Caller& caller = *one->caller;
  if (why != nullptr) {
    caller.failure = *why;
  } else {
    caller.out_of_memory = true;
  }
  finish(caller);
  put_away(from, one);
}

void Line::finish(Caller& caller) noexcept {
  if (!caller.leads()) {
    ++caller.posts;
    caller.next_to_wake = std::exchange(to_wake_, &caller);
  }
  caller.state = Caller::State::done;
}

void Line::appoint(Caller& caller) noexcept {
  ++caller.posts;
  caller.next_to_wake = std::exchange(to_wake_, &caller);
  caller.state = Caller::State::leads;
}

void Line::nudge_queued() noexcept {
  for (const Exchange& one : queue_) {
    if (one.caller == nullptr || one.caller->leads()) continue;
    ++one.caller->posts;
    one.caller->turn.post();
  }
}

void Line::wake(Guard& guard) noexcept {
  Caller* next = std::exchange(to_wake_, nullptr);
  guard.unlock();
  while (next != nullptr) {
    // Once posted to, it may be gone.
    Caller* const caller = std::exchange(next, next->next_to_wake);
    caller->turn.post();
  }
}

void Line::open(Exchanges& from, Exchanges::iterator one) noexcept {
  Exchanges release;
  release.splice(release.end(), from, one);
  aftermath_.open(std::move(release));
}

void Line::open_releases() noexcept {
  open_releases(mend_);
  if (!connected()) open_releases(queue_);
}

void Line::open_releases(Exchanges& from) noexcept {
  const TimePoint now = BootClock::now();
  for (auto next = from.begin(); next != from.end();) {
    const auto one = next++;
    if (!one->is_release) continue;
    one->release.failed(Errc::unreachable, now);
    open(from, one);
  }
}

Exchanges::iterator Line::spare() {
  if (spare_.empty()) spare_.emplace_back();
  return spare_.begin();
}

void Line::put_away(Exchanges& from, Exchanges::iterator one) noexcept {
  one->caller = nullptr;
  one->is_release = false;
  one->said = {};
  spare_.splice(spare_.begin(), from, one);
}

}  // namespace redlatch::detail
