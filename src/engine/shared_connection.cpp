#include "engine/shared_connection.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include <redlatch/protocol/reply.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {
void Channel::execute(const Request& request, Response& response, Connecting connecting,
                      TimePoint end) {
  const bool outdated = say(request, response, connecting, end);
  // The caller is the only one that has something to say about its lease, and was refused for
  // certain, so that nothing gets out of its place.
  if (!outdated || connecting == Connecting::never || BootClock::now() >= end) return;
  response = {};
  static_cast<void>(say(request, response, connecting, end));
}

/// True when the server refused because it is no primary (any more), on a connection that is not
/// new: a new one may lead to another server.
bool Channel::say(const Request& request, Response& response, Connecting connecting,
                  TimePoint end) {
  Caller caller{.request = request, .response = response, .end = end};
  Guard guard(mutex_);
  const Patience patience{connecting, end, connecting_time()};
  line_.queue(caller);
  if (!led_.exchange(true)) caller.state = Caller::State::leads;
  while (!caller.done()) {
    if (caller.leads()) {
      lead(caller, patience, guard);
    } else {
      await(caller, patience, guard);
    }
  }
  if (guard.owns_lock()) guard.unlock();
  conclude(caller);
  return caller.outdated;
}

void Channel::begin(Caller& caller) {
  Guard guard(mutex_);
  line_.queue(caller);
  if (led_.exchange(true)) return;
  try {
    line_.refresh(BootClock::now(), Line::Look::seldom);
  } catch (const IoError& error) {
    line_.break_off(&error);
  } catch (const std::bad_alloc&) {
    line_.break_off(nullptr);
  }
  pass_on(Refused::opened, guard);
}

void Channel::extend(Caller& caller, TimePoint end) noexcept {
  const Guard guard(mutex_);
  caller.end = end;
}

void Channel::leave(Caller& caller) noexcept {
  Guard guard(mutex_);
  while (caller.mended && !caller.done()) {
    guard.unlock();
    caller.turn.wait();
    ++caller.posts_taken;
    guard.lock();
  }
  if (!caller.done()) line_.give_up(caller, Errc::timed_out, "no answer in time");
  // The caller may undo what it asked for, behind that on the same connection.
  if (!led_.exchange(true)) pass_on(Refused::opened, guard, Stale::kept);
}

void Channel::conclude(Caller& caller) {
  caller.take_posts();
  const Request& request = caller.request;
  if (caller.broken && caller.in_doubt && request.undo != nullptr) {
    Exchanges one = release_of(request.key, *request.undo, *settings_.routes);
    one.front().release.broke(Errc::unreachable, BootClock::now());
    aftermath_.open(std::move(one));
  }
  if (caller.out_of_memory) throw std::bad_alloc();
  if (caller.failure) {
    caller.response.failure = protocol::about(caller.failure->code(), request.key, settings_.server,
                                              caller.failure->what(), caller.in_doubt);
  }
}

Channel::Posted Channel::post(std::string_view key, const Undo& undo) noexcept {
  Guard guard(mutex_);
  if (!line_.connected() && !connecting_) return Posted::no_connection;
  // A leader may be finding out right now; it has a conversation by itself then.
  if (!led_ && line_.converses(undo.command)) return Posted::needs_conversation;
  try {
    line_.queue(key, undo);
  } catch (const std::bad_alloc&) {
    return Posted::no_memory;
  }
  if (!led_.exchange(true)) pass_on(Refused::opened, guard);
  return Posted::yes;
}

bool Channel::renew(Tenure& tenure) noexcept {
  const Guard guard(mutex_);
  try {
    line_.queue(tenure);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void Channel::repeat(Exchanges releases, TimePoint latest, int cancel) noexcept {
  Guard guard(mutex_);
  line_.queue(std::move(releases));
  if (led_.exchange(true)) return;
  try {
    line_.refresh(BootClock::now());
    if (!line_.connected() && may_connect()) {
      connect(nullptr, {Connecting::counted, latest, connecting_time()}, cancel, guard);
    } else if (!line_.connected() && failure_) {
      line_.fail_queued(*failure_);
    }
    mend_renewals(std::min(latest, command_end()), guard);
  } catch (const IoError& error) {
    line_.break_off(&error);
  } catch (const std::bad_alloc&) {
    line_.break_off(nullptr);
  }
  pass_on(Refused::opened, guard);
}

/// Some servers take them only in a conversation.
void Channel::mend_renewals(TimePoint end, Guard& guard) {
  if (!line_.connected() || !line_.all_answered()) return;
  line_.say_queued(Line::Whose::nobodys, BootClock::now());
  if (line_.all_answered()) line_.mend(end, nullptr, guard);
}

bool Channel::take_in(TimePoint end) noexcept {
  Guard guard(mutex_);
  if (led_) return true;
  if (!line_.connected() || !line_.owes()) return false;
  led_ = true;
  try {
    line_.take_in();
    if (line_.all_answered()) line_.mend(std::min(end, command_end()), nullptr, guard);
    if (line_.has_queued()) line_.refresh(BootClock::now());
  } catch (const IoError& error) {
    line_.break_off(&error);
  } catch (const std::bad_alloc&) {
    line_.break_off(nullptr);
  }
  pass_on(Refused::opened, guard);
  guard.lock();
  return led_ || line_.owes();
}

void Channel::finish(TimePoint end) noexcept {
  Guard guard(mutex_);
  led_ = true;
  try {
    do {
      while (line_.connected() && !line_.all_answered()) line_.read(end, guard);
      if (line_.connected()) line_.mend(end, nullptr, guard);
    } while (line_.connected() &&
             (line_.say_queued(Line::Whose::nobodys, BootClock::now()) || line_.owes()));
  } catch (const IoError& error) {
    line_.break_off(&error);
  } catch (const std::bad_alloc&) {
    line_.break_off(nullptr);
  }
  pass_on(Refused::opened, guard);
}

/// A caller that waits while another one fails to connect shares its failure, so that a dead server
/// costs each of them one `connect_timeout` and not one behind the other.
void Channel::await(Caller& caller, const Patience& patience, Guard& guard) {
  if (!guard.owns_lock()) guard.lock();
  if (caller.state != Caller::State::waits) return;
  if (connecting_ && patience.connecting == Connecting::never) {
    return line_.give_up(caller, Errc::unreachable, "there is no connection yet");
  }
  const bool others_connect = connecting_ && patience.connecting == Connecting::on_top;
  const TimePoint end =
      others_connect ? patience.end + settings_.options.connect_timeout : end_of(caller, patience);
  caller.end = end;
  if (BootClock::now() >= end && !caller.mended && !begin_grace(caller)) {
    return line_.give_up(caller, Errc::timed_out,
                         caller.exchange->place == Exchange::Place::queue
                             ? "others kept the connection for all of command_timeout"
                             : "no answer within command_timeout");
  }
  const bool mended = caller.mended;
  guard.unlock();
  if (mended) {
    caller.turn.wait();
    ++caller.posts_taken;
  } else if (caller.turn.wait_until(std::max(end, caller.grace_until))) {
    ++caller.posts_taken;
  }
}

/// Comes back without the mutex, as the leader or not.
void Channel::lead(Caller& caller, const Patience& patience, Guard& guard) {
  if (!guard.owns_lock()) guard.lock();
  bool in_time = true;
  do {
    // Refused releases are mended at once; refused callers do that themselves, in their own time.
    while (in_time && (caller.leads() || (line_.to_mend() && line_.next_leader() == nullptr))) {
      in_time = try_step(caller, patience, guard);
      if (caller.state == Caller::State::waits) return line_.wake(guard);
      if (!line_.somebody_to_wake()) continue;
      line_.wake(guard);
      guard.lock();
    }
  } while (!pass_on(in_time ? Refused::mended : Refused::opened, guard));
}

/// False when who comes next has more time.
bool Channel::try_step(Caller& caller, const Patience& patience, Guard& guard) {
  try {
    step(caller, patience, guard);
  } catch (const IoError& error) {
    if (error.code() != Errc::timed_out) {
      line_.break_off(&error);
    } else if (caller.done()) {
      return false;
    } else if (begin_grace(caller)) {
      judge();
    } else {
      line_.give_up(caller, error.code(), error.what());
    }
  } catch (const std::bad_alloc&) {
    line_.break_off(nullptr);
    if (!caller.done()) line_.fail_queued(caller, nullptr);
  }
  return true;
}

void Channel::step(Caller& caller, const Patience& patience, Guard& guard) {
  const TimePoint end = end_of(caller, patience);
  caller.end = end;
  if (line_.to_mend() && line_.all_answered()) return retry_refused(caller, end, guard);
  if (line_.to_mend() || line_.awaited()) return line_.read(end, guard);

  // Nobody waits for an answer, so the caller is still in the queue.
  const TimePoint now = BootClock::now();
  if (now >= end) {
    throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
  }
  line_.refresh(now);
  if (!line_.connected()) return connect(&caller, patience, never_cancelled, guard);
  if (line_.to_mend()) return;
  Caller* const alone = line_.converses();
  if (alone == nullptr) {
    line_.say_queued(Line::Whose::everybodys, now);
    line_.flush(end, guard);
  } else if (alone != &caller) {
    caller.state = Caller::State::waits;
    line_.appoint(*alone);
  } else if (line_.all_answered()) {
    line_.converse(caller, end, guard);
  } else {
    line_.read(end, guard);
  }
}

/// Up to the first request of another caller that can lead, which retries in its own time: with
/// less of it, this one would break the connection under the other.
void Channel::retry_refused(Caller& caller, TimePoint end, Guard& guard) {
  if (BootClock::now() >= end) {
    throw IoError(Errc::timed_out, "no answer within command_timeout");
  }
  line_.mend(end, &caller, guard);
  Caller* const next = line_.first_refused();
  if (!caller.leads() || next == nullptr || next == &caller || !line_.all_answered()) return;
  caller.state = Caller::State::waits;
  line_.appoint(*next);
}

/// Says what is queued when nobody else's answer is awaited, so that the server has it while the
/// next leader wakes up, and makes one of those who wait the leader, if there is one. Releases the
/// mutex. False, with the mutex, when there are refused releases to be mended first.
bool Channel::pass_on(Refused releases, Guard& guard, Stale stale) noexcept {
  judge();
  if (!line_.awaited() && line_.is_stale()) line_.open_mending();
  while (line_.connected() && line_.has_queued() && !line_.awaited() && !line_.to_mend()) {
    try {
      const bool silent = line_.is_stale();
      const auto whose = silent ? Line::Whose::releases : Line::Whose::everybodys;
      if (!line_.say_queued(whose, BootClock::now())) break;
      line_.try_flush(guard);
    } catch (const IoError& error) {
      line_.break_off(&error);
    } catch (const std::bad_alloc&) {
      line_.break_off(nullptr);
    }
  }
  if (stale == Stale::retired) line_.retire_if_stale();
  if (Caller* const next = line_.next_leader(); next != nullptr) {
    line_.appoint(*next);
  } else if (releases == Refused::mended && line_.to_mend()) {
    return false;
  } else {
    led_ = false;
    line_.open_releases(failure_ ? failure_->code() : Errc::unreachable);
    if (line_.owes()) aftermath_.expect_answers();
  }
  line_.wake(guard);
  return true;
}

/// The time is over, maybe because this process stood still: once for each caller, a little more
/// shows whether the answer is there, or comes at once.
bool Channel::begin_grace(Caller& caller) const noexcept {
  if (!line_.connected() || caller.grace_until != TimePoint{}) return false;
  const TimePoint now = BootClock::now();
  caller.grace_until = now + Line::grace_for(now - caller.end);
  return true;
}

/// Whether the connection is still one to say something on.
void Channel::judge() noexcept {
  try {
    line_.read_before_judging();
    line_.drop_outdated();
  } catch (const IoError& error) {
    line_.break_off(&error);
  } catch (const std::bad_alloc&) {
    line_.break_off(nullptr);
  }
}

void Channel::after_fork_in_child() noexcept {
  line_.abandon(led_);
  led_ = false;
  connecting_ = false;
  failure_.reset();
  mutex_.unlock();
}

}  // namespace redlatch::detail
