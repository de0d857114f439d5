#include "channel.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/protocol/reply.hpp>

#include "open_releases.hpp"

namespace redlatch::detail {

void Channel::execute(const Request& request, Response& response, Connecting connecting) {
  const TimePoint end = BootClock::now() + settings_.options.command_timeout;
  exchange({connecting, end, settings_.options.connect_timeout}, request, response);
}

void Channel::execute_until(TimePoint end, const Request& request, Response& response) {
  exchange({Connecting::counted, end, settings_.options.connect_timeout}, request, response);
}

void Channel::Patience::spend_connecting(std::chrono::nanoseconds time) noexcept {
  if (!on_top()) return;
  time = std::min(time, for_connecting);
  for_connecting -= time;
  end += time;
}

void Channel::exchange(Patience patience, const Request& request, Response& response) {
  const auto failed = [&](const IoError& error, bool in_doubt) {
    response.failure =
        protocol::about(error.code(), request.key, settings_.server, error.what(), in_doubt);
  };
  try {
    enter(patience);
  } catch (const IoError& error) {
    return failed(error, false);
  }
  const Finally turn([this] { leave(); });

  try {
    if (session_ == nullptr || !session_->idle()) connect(patience);
  } catch (const IoError& error) {
    return failed(error, false);
  }
  try {
    response.sent = BootClock::now();
    session_->run(request.commands, response.replies, patience.end);
  } catch (const IoError& error) {
    const bool in_doubt = session_->in_doubt();
    clean_up(request, error.code());
    failed(error, in_doubt);
  } catch (const std::bad_alloc&) {
    clean_up(request, Errc::unreachable);
    throw;
  }
}

/// The connection is not used again. What is in doubt is taken back behind the command itself where
/// that was only not answered, since nothing can overtake it there; else on a new connection.
void Channel::clean_up(const Request& request, Errc why) {
  std::unique_ptr<Session> session = set_session(nullptr);
  if (request.undo == nullptr || !session->in_doubt()) return;
  if (why == Errc::timed_out) {
    open_releases_.adopt(std::move(session), request.key, *request.undo);
  } else {
    open_releases_.add(request.key, *request.undo, OpenReleases::After::broken_connection);
  }
}

void Channel::enter(Patience& patience) {
  std::unique_lock lock(mutex_);
  if (busy_ || !queue_.empty()) await_turn(patience, lock);
  busy_ = true;
}

/// A caller that waits while another one fails to connect shares its failure, so that a dead server
/// costs each of them one `connect_timeout` and not one behind the other.
void Channel::await_turn(Patience& patience, std::unique_lock<std::mutex>& lock) {
  const auto self = queue_.emplace(queue_.end());
  const Finally place([&] {
    queue_.erase(self);
    if (!busy_ && !queue_.empty()) queue_.front().notify_one();
  });
  const std::uint64_t failures = failures_;
  while (busy_ || self != queue_.begin()) {
    if (connecting_ && patience.connecting == Connecting::never) {
      throw IoError(Errc::unreachable, "there is no connection yet");
    }
    const bool another_connects = connecting_ && patience.on_top();
    const TimePoint start = BootClock::now();
    const TimePoint end = another_connects ? patience.end + patience.for_connecting : patience.end;
    if (start >= end) {
      throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
    }
    self->wait_until(lock, end);
    if (another_connects) patience.spend_connecting(BootClock::now() - start);
    if (failures_ != failures && session_ == nullptr) throw IoError(*last_failure_);
  }
  busy_ = true;  // before the place is given up, so that nobody is woken in vain
}

void Channel::leave() noexcept {
  const std::lock_guard lock(mutex_);
  busy_ = false;
  if (!queue_.empty()) queue_.front().notify_one();
}

void Channel::wake_all() noexcept {
  for (std::condition_variable& waiter : queue_) waiter.notify_one();
}

void Channel::connect(Patience& patience) {
  if (patience.connecting == Connecting::never) {
    throw IoError(Errc::unreachable, "there is no connection");
  }
  set_session(nullptr);
  const TimePoint start = BootClock::now();
  const TimePoint end = start + patience.for_connecting;
  const bool full =
      patience.on_top() && patience.for_connecting == settings_.options.connect_timeout;
  {
    const std::lock_guard lock(mutex_);
    connecting_ = true;
    wake_all();
  }
  try {
    auto session = std::make_unique<Session>(settings_.endpoint, settings_.options,
                                             patience.on_top() ? end : std::min(end, patience.end));
    set_session(std::move(session));
  } catch (const IoError& error) {
    const std::lock_guard lock(mutex_);
    connecting_ = false;
    // Who waits with more patience than this one had finds out for itself.
    if (full) {
      ++failures_;
      last_failure_ = error;
    }
    wake_all();
    throw;
  } catch (const std::bad_alloc&) {
    set_session(nullptr);
    throw;
  }
  patience.spend_connecting(BootClock::now() - start);
}

std::unique_ptr<Session> Channel::set_session(std::unique_ptr<Session> session) noexcept {
  const std::lock_guard lock(mutex_);
  if (std::exchange(connecting_, false)) wake_all();
  return std::exchange(session_, std::move(session));
}

void Channel::after_fork_in_child() noexcept {
  if (session_ != nullptr) {
    session_->abandon();
    // What another thread of the parent was changing cannot be taken apart.
    if (busy_) static_cast<void>(session_.release());
    session_.reset();
  }
  std::construct_at(&queue_);  // the parent's waiters are not here
  busy_ = false;
  connecting_ = false;
  mutex_.unlock();
}

}  // namespace redlatch::detail
