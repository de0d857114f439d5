#include "channel.hpp"

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

void Channel::execute(const Request& request, Response& response, Connecting connecting,
                      TimePoint end) {
  Caller caller{.request = request, .response = response};
  {
    Guard guard(mutex_);
    caller.exchange = spare();
    caller.exchange->caller = &caller;
    queue_.splice(queue_.end(), spare_, caller.exchange);
    const Patience patience{connecting, end, connecting_time()};
    caller.leads = !std::exchange(led_, true);
    while (!caller.done) {
      if (caller.leads) {
        lead(caller, patience, guard);
      } else {
        await(caller, patience, guard);
      }
    }
  }
  if (caller.broken && caller.in_doubt && request.undo != nullptr) {
    Exchanges one(1);
    one.front().is_release = true;
    one.front().release.begin(request.key, *request.undo, BootClock::now());
    one.front().release.broke(BootClock::now());
    aftermath_.open(std::move(one));
  }
  if (caller.out_of_memory) throw std::bad_alloc();
  if (caller.failure) {
    response.failure = protocol::about(caller.failure->code(), request.key, settings_.server,
                                       caller.failure->what(), caller.in_doubt);
  }
}

Channel::Posted Channel::post(std::string_view key, const Undo& undo) noexcept {
  Guard guard(mutex_);
  if (line_.session == nullptr && !connecting_) return Posted::no_connection;
  // Who leads may be finding out just now: the release is in the queue then, in its place.
  if (!led_ && line_.session != nullptr && line_.session->form_of(undo.command) == Form::watch) {
    return Posted::needs_conversation;
  }
  try {
    const auto one = spare();
    one->is_release = true;
    one->release.begin(key, undo, BootClock::now());
    queue_.splice(queue_.end(), spare_, one);
  } catch (const std::bad_alloc&) {
    return Posted::no_memory;
  }
  if (!std::exchange(led_, true)) pass_on(guard);
  return Posted::yes;
}

void Channel::repeat(Exchanges releases, TimePoint latest, int cancel) noexcept {
  Guard guard(mutex_);
  queue_.splice(queue_.end(), releases);
  if (std::exchange(led_, true)) return;
  try {
    refresh();
    if (line_.session == nullptr) {
      connect(nullptr, {Connecting::counted, latest, connecting_time()}, cancel, guard);
    }
  } catch (const IoError& error) {
    break_off(&error);
  }
  pass_on(guard);
}

bool Channel::take_in() noexcept {
  Guard guard(mutex_);
  if (led_) return true;
  if (line_.session == nullptr || (line_.unanswered.empty() && queue_.empty())) return false;
  led_ = true;
  try {
    line_.session->try_flush();
    while (line_.session->take_in()) {
    }
    line_.collect();
    deliver();
    if (line_.unanswered.empty()) {
      take_turns();
      mend(BootClock::now() + settings_.options.command_timeout, guard);
    }
  } catch (const IoError& error) {
    break_off(&error);
  } catch (const std::bad_alloc&) {
    break_off(nullptr);
  }
  pass_on(guard);
  return led_ || !line_.unanswered.empty() || !queue_.empty();
}

void Channel::finish(TimePoint end) noexcept {
  Guard guard(mutex_);
  led_ = true;
  try {
    while (line_.session != nullptr) {
      if (line_.unanswered.empty()) {
        take_turns();
        if (mend_.empty()) break;
        mend(end, guard);
      } else {
        read(end, guard);
      }
    }
  } catch (const IoError& error) {
    if (!guard.owns_lock()) guard.lock();
    break_off(&error);
  } catch (const std::bad_alloc&) {
    if (!guard.owns_lock()) guard.lock();
    break_off(nullptr);
  }
  pass_on(guard);
}

/// A caller that waits while another one fails to connect shares its failure, so that a dead server
/// costs each of them one `connect_timeout` and not one behind the other.
void Channel::await(Caller& caller, const Patience& patience, Guard& guard) {
  if (connecting_ && patience.connecting == Connecting::never) {
    return give_up(caller, Errc::unreachable, "there is no connection yet");
  }
  const bool others_connect = connecting_ && patience.connecting == Connecting::on_top;
  const TimePoint end =
      others_connect ? patience.end + settings_.options.connect_timeout : end_of(patience);
  const TimePoint now = BootClock::now();
  if (caller.mended) {
    caller.turn.wait(guard);
  } else if (now < end) {
    caller.turn.wait_for(guard, end - now);
  } else {
    give_up(caller, Errc::timed_out,
            caller.exchange->said == TimePoint{}
                ? "others kept the connection for all of command_timeout"
                : "no answer within command_timeout");
  }
}

void Channel::lead(Caller& caller, const Patience& patience, Guard& guard) {
  while (caller.leads && (!caller.done || !mend_.empty())) {
    try {
      step(caller, patience, guard);
    } catch (const IoError& error) {
      if (!guard.owns_lock()) guard.lock();
      if (error.code() != Errc::timed_out) {
        break_off(&error);
      } else if (!caller.done) {
        give_up(caller, error.code(), error.what());
      } else {
        break;
      }
    } catch (const std::bad_alloc&) {
      if (!guard.owns_lock()) guard.lock();
      break_off(nullptr);
      if (!caller.done) fail(queue_, caller.exchange, nullptr);
    }
  }
  if (std::exchange(caller.leads, false)) pass_on(guard);
}

void Channel::step(Caller& caller, const Patience& patience, Guard& guard) {
  const TimePoint end = end_of(patience);
  if (!mend_.empty() && line_.unanswered.empty()) return mend(end, guard);
  if (waiting_ > 0 || !mend_.empty()) return read(end, guard);

  // Nobody waits for an answer, so the caller is still in the queue.
  if (BootClock::now() >= end) {
    throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
  }
  refresh();
  if (line_.session == nullptr) return connect(&caller, patience, never_cancelled, guard);
  if (!mend_.empty()) return;
  Caller* first = queue_.front().caller;
  if (first == nullptr && needs_conversation(queue_.front())) {
    if (!line_.unanswered.empty()) return read(end, guard);
    take_turns();
    return;
  }
  if (first != nullptr && line_.session->converses(first->request.commands)) {
    if (first != &caller) {
      caller.leads = false;
      return appoint(*first);
    }
    return line_.unanswered.empty() ? converse(caller, end, guard) : read(end, guard);
  }
  say_queued(Whose::everybodys);
  guard.unlock();
  line_.session->flush(end);
  guard.lock();
}

/// Says what is queued when nobody else's answer is awaited, so that the server has it while the
/// next leader wakes up, and makes one of those who wait the leader, if there is one.
void Channel::pass_on(Guard& guard) noexcept {
  while (line_.session != nullptr && waiting_ == 0 && mend_.empty()) {
    try {
      if (!say_queued(is_stale() ? Whose::nobodys : Whose::everybodys)) break;
      guard.unlock();
      line_.session->try_flush();
      guard.lock();
    } catch (const IoError& error) {
      guard.lock();
      break_off(&error);
    } catch (const std::bad_alloc&) {
      if (!guard.owns_lock()) guard.lock();
      break_off(nullptr);
    }
  }
  if (waiting_ == 0 && is_stale()) retire();
  if (Caller* next = next_leader(); next != nullptr) return appoint(*next);

  led_ = false;
  open_releases(mend_);
  if (line_.session == nullptr) open_releases(queue_);
  if (!line_.unanswered.empty() || !queue_.empty()) aftermath_.expect_answers();
}

void Channel::appoint(Caller& caller) noexcept {
  caller.leads = true;
  caller.turn.notify_one();
}

/// Drops a connection that the server has closed, leaves unanswered for too long, or on which it
/// has said what nobody asked for. Where an answer may come at any time, one that was just used is
/// taken for good.
void Channel::refresh() {
  if (line_.session == nullptr) return;
  if (line_.unanswered.empty()) {
    if (!line_.session->idle()) line_.session.reset();
    return;
  }
  if (is_stale()) return retire();
  const TimePoint now = BootClock::now();
  if (now - used_ < fresh) return;
  used_ = now;
  while (line_.session->take_in()) {
  }
  line_.collect();
  deliver();
}

/// The caller, if there is one, is queued.
void Channel::connect(Caller* caller, const Patience& patience, int cancel, Guard& guard) {
  if (patience.connecting == Connecting::never) {
    return give_up(*caller, Errc::unreachable, "there is no connection");
  }
  const bool on_top = patience.connecting == Connecting::on_top;
  const std::chrono::nanoseconds most = settings_.options.connect_timeout;
  const TimePoint start = BootClock::now();
  const TimePoint end = on_top ? start + most - (connecting_time() - patience.connected_before)
                               : std::min(start + most, patience.end);
  const bool full = end == start + most;
  connecting_ = true;
  connecting_since_ = start;
  guard.unlock();
  std::unique_ptr<Session> session;
  std::optional<IoError> failure;
  try {
    session = std::make_unique<Session>(settings_.endpoint, settings_.options, end, cancel);
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // There is neither then.
  }
  guard.lock();
  used_ = BootClock::now();
  connected_for_ += used_ - start;
  connecting_ = false;
  line_.session = std::move(session);
  for (const Exchange& one : queue_) {
    if (one.caller != nullptr) one.caller->turn.notify_one();  // there is another end to wait for
  }
  if (line_.session != nullptr) return;
  // Who has more patience than this caller had finds out for itself.
  if (full && failure) {
    fail_queued(*failure);
  } else if (caller != nullptr) {
    fail(queue_, caller->exchange, failure ? &*failure : nullptr);
  } else {
    open_releases(queue_);
  }
}

/// Up to the first caller that needs a conversation. False when there was nothing to say.
bool Channel::say_queued(Whose whose) {
  const TimePoint now = BootClock::now();
  bool said = false;
  for (auto next = queue_.begin(); next != queue_.end();) {
    const auto one = next++;
    if (one->caller != nullptr) {
      if (whose == Whose::nobodys) continue;
      if (line_.session->converses(one->caller->request.commands)) break;
    } else if (needs_conversation(*one)) {
      if (whose == Whose::everybodys) break;  // in its turn
      one->release.may_be_overtaken();
      one->release.needs_conversation(now);
      open(queue_, one);
      continue;
    }
    line_.append(*one, now);
    line_.unanswered.splice(line_.unanswered.end(), queue_, one);
    if (one->caller != nullptr) ++waiting_;
    said = true;
  }
  if (said) used_ = now;
  return said;
}

void Channel::converse(Caller& caller, TimePoint end, Guard& guard) {
  const auto one = caller.exchange;
  one->begin(BootClock::now());
  line_.unanswered.splice(line_.unanswered.end(), queue_, one);
  ++waiting_;
  talk(*one, guard, [&] { line_.session->run(caller.request.commands, one->replies, end); });
  if (!caller.done) answer(line_.unanswered);
}

/// Has a conversation, in which the connection breaks with whatever fails.
template <class Conversation>
void Channel::talk(Exchange& about, Guard& guard, Conversation conversation) {
  guard.unlock();
  try {
    conversation();
    guard.lock();
    used_ = BootClock::now();
  } catch (const IoError& error) {
    guard.lock();
    if (line_.session->in_doubt()) about.change_ends = 0;
    break_off(&error);
  } catch (const std::bad_alloc&) {
    guard.lock();
    if (line_.session->in_doubt()) about.change_ends = 0;
    break_off(nullptr);
  }
}

void Channel::read(TimePoint end, Guard& guard) {
  guard.unlock();
  line_.session->flush(end);
  line_.session->wait(end);
  line_.collect();
  guard.lock();
  used_ = BootClock::now();
  deliver();
}

void Channel::deliver() noexcept {
  while (!line_.unanswered.empty() && line_.unanswered.front().complete()) {
    Exchange& one = line_.unanswered.front();
    if (!needs_mending(one)) {
      answer(line_.unanswered);
      continue;
    }
    if (one.caller != nullptr) one.caller->mended = true;
    one.change_ends = Connection::nowhere;  // a refusal is certain
    mend_.splice(mend_.end(), line_.unanswered, line_.unanswered.begin());
  }
}

/// Also an attempt that failed only because the release before it was refused.
bool Channel::needs_mending(Exchange& exchange) const noexcept {
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

/// Releases whose turn it is and that can only be said in a conversation.
void Channel::take_turns() {
  while (!queue_.empty() && queue_.front().caller == nullptr &&
         needs_conversation(queue_.front())) {
    queue_.front().begin(BootClock::now());
    queue_.front().repeat = true;
    mend_.splice(mend_.end(), queue_, queue_.begin());
  }
}

bool Channel::needs_conversation(const Exchange& release) const noexcept {
  return line_.session->form_of(release.release.command()) == Form::watch;
}

void Channel::mend(TimePoint end, Guard& guard) {
  while (!mend_.empty()) {
    Exchange& one = mend_.front();
    if (one.caller == nullptr && !one.is_release) {  // gave up
      put_away(mend_, mend_.begin());
      continue;
    }
    Session* const session = line_.session.get();
    talk(one, guard, [&] {
      if (one.repeat) {
        one.said = BootClock::now();
        if (one.caller != nullptr) {
          return session->run(one.caller->request.commands, one.replies, end);
        }
        const protocol::Command command = one.release.command();
        return session->run({&command, 1}, one.replies, end);
      }
      for (std::size_t i = 0; i < one.commands; ++i) {
        one.replies[i] =
            session->mend(one.command(i), one.forms[i], std::move(one.replies[i]), end);
      }
    });
    if (line_.session == nullptr) return;
    answer(mend_);
  }
}

/// Hands its replies to the first exchange of the list.
void Channel::answer(Exchanges& from) noexcept {
  const auto one = from.begin();
  if (one->is_release) {
    const auto fate = one->release.answered(one->replies.front(), settings_.options.command_timeout,
                                            BootClock::now());
    if (!fate) return open(from, one);
    if (*fate != Fate::done) aftermath_.ended(one->release, *fate);
  } else if (one->caller != nullptr) {
    one->caller->response.replies = std::move(one->replies);
    one->caller->response.sent = one->said;
    one->caller->done = true;
    one->caller->turn.notify_one();
    --waiting_;
  }
  put_away(from, one);
}

/// The caller does not wait any longer. The connection goes on; what the caller asked for is taken
/// back behind the command itself, where nothing can overtake it.
void Channel::give_up(Caller& caller, Errc code, const char* why) noexcept {
  const auto one = caller.exchange;
  const bool said = one->said != TimePoint{};
  const bool changes = said && one->change_ends != Connection::nowhere;
  caller.response.sent = one->said;
  try {
    caller.failure.emplace(code, why);
    if (changes && caller.request.undo != nullptr) {
      const auto release = spare();
      release->is_release = true;
      release->release.begin(caller.request.key, *caller.request.undo, BootClock::now());
      queue_.splice(queue_.end(), spare_, release);
    }
  } catch (const std::bad_alloc&) {
    caller.out_of_memory = true;
  }
  caller.in_doubt = changes;
  caller.done = true;
  if (said) {
    one->caller = nullptr;
    --waiting_;
  } else {
    put_away(queue_, one);
  }
}

/// Null: memory has run out.
void Channel::fail(Exchanges& from, Exchanges::iterator one, const IoError* why) noexcept {
  Caller& caller = *one->caller;
  if (why != nullptr) {
    caller.failure = *why;
  } else {
    caller.out_of_memory = true;
  }
  caller.done = true;
  caller.turn.notify_one();
  put_away(from, one);
}

/// The connection is lost. Null: because memory has run out.
void Channel::break_off(const IoError* why) noexcept {
  const auto sent = line_.session == nullptr ? 0 : line_.session->sent();
  for (Exchanges* list : {&mend_, &line_.unanswered}) {
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
  line_.session.reset();
}

void Channel::fail_queued(const IoError& why) noexcept {
  open_releases(queue_);
  while (!queue_.empty()) fail(queue_, queue_.begin(), &why);
}

void Channel::retire() noexcept { aftermath_.adopt(std::exchange(line_, {})); }

void Channel::open(Exchanges& from, Exchanges::iterator one) noexcept {
  Exchanges release;
  release.splice(release.end(), from, one);
  aftermath_.open(std::move(release));
}

void Channel::open_releases(Exchanges& from) noexcept {
  const TimePoint now = BootClock::now();
  for (auto next = from.begin(); next != from.end();) {
    const auto one = next++;
    if (!one->is_release) continue;
    one->release.failed(Errc::unreachable, now);
    open(from, one);
  }
}

Exchanges::iterator Channel::spare() {
  if (spare_.empty()) spare_.emplace_back();
  return spare_.begin();
}

void Channel::put_away(Exchanges& from, Exchanges::iterator one) noexcept {
  one->caller = nullptr;
  one->is_release = false;
  one->said = {};
  spare_.splice(spare_.begin(), from, one);
}

Caller* Channel::next_leader() noexcept {
  for (Exchanges* list : {&mend_, &line_.unanswered, &queue_}) {
    if (list == &line_.unanswered && waiting_ == 0) continue;
    for (const Exchange& one : *list) {
      if (one.caller != nullptr) return one.caller;
    }
  }
  return nullptr;
}

/// A little early, so that who gave up just now leaves no connection for the next one to try.
bool Channel::is_stale() const noexcept {
  const auto patience = settings_.options.command_timeout * 7 / 8;
  return !line_.unanswered.empty() && BootClock::now() - line_.unanswered.front().said >= patience;
}

std::chrono::nanoseconds Channel::connecting_time() const noexcept {
  return connected_for_ +
         (connecting_ ? BootClock::now() - connecting_since_ : std::chrono::nanoseconds::zero());
}

TimePoint Channel::end_of(const Patience& patience) const noexcept {
  if (patience.connecting != Connecting::on_top) return patience.end;
  return patience.end +
         std::min<std::chrono::nanoseconds>(connecting_time() - patience.connected_before,
                                            settings_.options.connect_timeout);
}

void Channel::after_fork_in_child() noexcept {
  if (line_.session != nullptr) {
    line_.session->abandon();
    // What another thread of the parent was changing cannot be taken apart.
    if (led_) static_cast<void>(line_.session.release());
    line_.session.reset();
  }
  if (led_) {
    std::construct_at(&line_.unanswered);
    std::construct_at(&mend_);
  }
  line_.unanswered.clear();
  mend_.clear();
  queue_.clear();
  waiting_ = 0;
  led_ = false;
  connecting_ = false;
  mutex_.unlock();
}

}  // namespace redlatch::detail
