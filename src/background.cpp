#include "background.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <exception>
#include <utility>

#include "io_error.hpp"
#include "poll.hpp"

namespace redlatch::detail {

namespace {

/// How long an answer may lie about that nobody comes to read.
constexpr std::chrono::milliseconds look_after{50};

/// The program's signal handlers run on the program's threads.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

Background::~Background() {
  {
    const Guard guard(mutex_);
    stopping_ = true;
    stop_at_ = BootClock::now() + settings_.options.command_timeout;
  }
  stop_.signal();
  wake_up_.signal();
  if (thread_.get_id() == std::this_thread::get_id()) {
    *gone_ = true;
    thread_.detach();
    run();
  } else if (thread_.joinable()) {
    thread_.join();
  } else {
    run();
  }
}

void Background::serve(std::vector<Channel*> channels, ChannelOf channel_of) {
  channels_ = std::move(channels);
  channel_of_ = std::move(channel_of);
}

void Background::add(std::string_view key, const Undo& undo) noexcept {
  try {
    open(release_of(key, undo));
  } catch (const std::bad_alloc&) {
    // Nothing can be remembered without memory: the ttl does the rest.
  }
}

void Background::say(std::string_view key, const Undo& undo) noexcept {
  try {
    converse(release_of(key, undo), Connecting::never, TimePoint::max());
  } catch (const std::bad_alloc&) {
    // As above.
  }
}

void Background::open(Exchanges releases) noexcept {
  const Guard guard(mutex_);
  open_.splice(open_.end(), releases);
  wake();
}

void Background::adopt(Pipeline pipeline) noexcept {
  const Guard guard(mutex_);
  open_.splice(open_.end(), retired_.adopt(std::move(pipeline)));
  wake();
}

void Background::ended(const Release& release, Fate fate) noexcept {
  const Guard guard(mutex_);
  note(release, fate);
}

void Background::note(const Release& release, Fate fate) noexcept {
  if (fate == Fate::done || !settings_.options.on_event) return;
  try {
    events_->push_back(
        {.kind = fate == Fate::lost ? EventKind::lost : EventKind::release_unknown,
         .key = release.key(),
         .elapsed = std::chrono::duration_cast<std::chrono::microseconds>(BootClock::now() -
                                                                          release.begun()),
         .error = fate == Fate::lost ? std::error_code() : make_error_code(release.why())});
  } catch (const std::bad_alloc&) {
    // There is no memory to say it.
  }
  wake();
}

void Background::expect_answers() noexcept {
  if (expecting_.load(std::memory_order_relaxed) || expecting_.exchange(true)) return;
  const Guard guard(mutex_);
  look_at_ = BootClock::now() + look_after;
  wake();
}

void Background::wake() noexcept {
  start();
  wake_up_.signal();
}

void Background::start() noexcept {
  if (thread_.joinable() || stopping_) return;
  wants_thread_ = true;
  try {
    const SignalsBlocked blocked;
    wake_up_.open();
    stop_.open();
    thread_ = std::thread([this] { run(); });
    wants_thread_ = false;
  } catch (const std::exception&) {
    // No thread or descriptor is left: the next command tries again, and so does the destructor.
  }
}

void Background::retry_start() noexcept {
  const Guard guard(mutex_);
  start();
}

void Background::run() noexcept {
  const std::shared_ptr<const OnEvent> on_event = on_event_;  // may outlive the client
  bool gone = false;
  Guard guard(mutex_);
  gone_ = &gone;
  for (;;) {
    try {
      work(guard);
      tell(guard, *on_event, gone);
      if (gone) return;
      if (stopping_ && (all_settled() || BootClock::now() >= stop_at_)) break;
      rest(guard);
    } catch (const std::exception&) {
      // Out of memory, say: what is open stays open.
      if (!guard.owns_lock()) guard.lock();
      guard.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      guard.lock();
    }
  }
  open_.splice(open_.end(), retired_.close());
  for (const Exchange& one : open_) note(one.release, one.release.run_out());
  tell(guard, *on_event, gone);
}

bool Background::all_settled() const noexcept { return open_.empty() && retired_.empty(); }

void Background::work(Guard& guard) {
  retired_.take_in(open_, settings_.options.command_timeout,
                   [this](const Release& one, Fate fate) { note(one, fate); });
  repeat_due(guard);
  const bool stopping = stopping_;
  if (!stopping && BootClock::now() < look_at_) return;
  expecting_ = false;
  const TimePoint stop_at = stop_at_;
  guard.unlock();
  bool more = false;
  // All of them before one can take up the time of the others.
  for (Channel* channel : channels_) more |= channel->take_in();
  if (stopping) {
    for (Channel* channel : channels_) channel->finish(stop_at);
  }
  guard.lock();
  if (more) expecting_ = true;
  look_at_ = expecting_ ? BootClock::now() + look_after : TimePoint::max();
}

void Background::repeat_due(Guard& guard) {
  const TimePoint now = BootClock::now();
  for (;;) {
    const auto due = std::find_if(open_.begin(), open_.end(), [&](const Exchange& one) {
      return one.release.due() <= now || one.release.over(now);
    });
    if (due == open_.end() || BootClock::now() >= stop_at_) return;
    Exchanges one;
    one.splice(one.end(), open_, due);
    const TimePoint stop_at = stop_at_;
    const int cancel = stopping_ ? never_cancelled : stop_.fd();
    guard.unlock();
    const Release& release = one.front().release;
    if (release.over(now)) {
      ended(release, release.run_out());
    } else if (release.converses()) {
      converse(std::move(one), Connecting::counted, stop_at);
    } else {
      channel_of_(release.key()).repeat(std::move(one), stop_at, cancel);
    }
    guard.lock();
  }
}

void Background::converse(Exchanges one, Connecting connecting, TimePoint latest) noexcept {
  Release& release = one.front().release;
  const protocol::Command command = release.command();
  Response response;
  bool broke = true;
  try {
    const TimePoint end = BootClock::now() + settings_.options.command_timeout;
    channel_of_(release.key())
        .execute({.key = release.key(), .commands = {&command, 1}}, response, connecting,
                 std::min(end, latest));
    broke = response.failure && response.failure->in_doubt();
  } catch (const std::bad_alloc&) {
    // As open as after a break.
  }
  const TimePoint now = BootClock::now();
  if (broke) {
    release.broke(Errc::timed_out, now);
  } else if (response.failure) {
    release.failed(static_cast<Errc>(response.failure->code().value()), now);
  } else if (const auto fate = release.answered(response.replies.front(),
                                                settings_.options.command_timeout, now)) {
    return ended(release, *fate);
  }
  open(std::move(one));
}

/// Tells the program what has happened. It may end the client from there; what the end has to tell
/// comes behind what is being told.
void Background::tell(Guard& guard, const OnEvent& on_event, const bool& gone) noexcept {
  if (std::exchange(telling_, true)) return;
  const std::shared_ptr<std::list<Event>> events = events_;
  while (!events->empty()) {
    const Event event = std::move(events->front());
    events->pop_front();
    if (!gone) guard.unlock();
    on_event(event);
    if (!gone) guard.lock();
  }
  if (!gone) telling_ = false;
}

/// Sleeps until something is due or a server has spoken.
void Background::rest(Guard& guard) {
  TimePoint end = std::min({stop_at_, look_at_, retired_.until()});
  for (const Exchange& one : open_) {
    end = std::min({end, one.release.due(), one.release.until()});
  }
  std::vector<pollfd> watched{{.fd = wake_up_.fd(), .events = POLLIN, .revents = 0}};
  retired_.watch(watched);
  guard.unlock();
  poll_until(watched, end);
  guard.lock();
  wake_up_.clear();
}

void Background::after_fork_in_child() noexcept {
  retired_.abandon();
  open_.clear();
  events_->clear();
  telling_ = false;
  std::construct_at(&thread_);
  wants_thread_ = false;
  expecting_ = false;
  look_at_ = TimePoint::max();
  wake_up_.close();
  stop_.close();
  mutex_.unlock();
}

}  // namespace redlatch::detail
