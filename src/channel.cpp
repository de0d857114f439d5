#include "channel.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include <redlatch/protocol/reply.hpp>

#include "open_releases.hpp"

namespace redlatch::detail {

void Channel::execute(const Request& request, Response& response, Connecting connecting) {
  exchange({connecting, BootClock::now() + settings_.options.command_timeout}, request, response);
}

void Channel::execute_until(TimePoint end, const Request& request, Response& response) {
  exchange({Connecting::counted, end}, request, response);
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
  struct Turn {
    Channel& channel;
    ~Turn() { channel.leave(); }
  } const turn{*this};

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
    clean_up(request, error);
    failed(error, in_doubt);
  } catch (const std::bad_alloc&) {
    clean_up(request, IoError(Errc::unreachable, "out of memory"));
    throw;
  }
}

/// The connection is not used again. What is in doubt is taken back behind the command itself where
/// that was only not answered, since nothing can overtake it there; else on a new connection.
void Channel::clean_up(const Request& request, const IoError& error) {
  std::unique_ptr<Session> session = set_session(nullptr);
  if (request.undo == nullptr || !session->in_doubt()) return;
  if (error.code() == Errc::timed_out) {
    open_releases_.adopt(std::move(session), request.key, *request.undo);
  } else {
    open_releases_.add(request.key, *request.undo, OpenReleases::After::broken_connection);
  }
}

/// Waits for the turn. A caller that waits while another one fails to connect shares its failure,
/// so that a dead server costs each of them one `connect_timeout` and not one behind the other.
void Channel::enter(Patience& patience) {
  std::unique_lock lock(mutex_);
  const bool on_top = patience.connecting == Connecting::on_top;
  const std::uint64_t failures = failures_;
  bool another_connects = false;
  while (busy_) {
    another_connects |= connecting_;
    if (connecting_ && patience.connecting == Connecting::never) {
      throw IoError(Errc::unreachable, "there is no connection yet");
    }
    const TimePoint end =
        connecting_ && on_top ? patience.end + settings_.options.connect_timeout : patience.end;
    if (BootClock::now() >= end) {
      throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
    }
    changed_.wait_until(lock, end);
    if (failures_ != failures && session_ == nullptr) throw IoError(*last_failure_);
  }
  busy_ = true;
  if (another_connects && on_top) {
    patience.end = BootClock::now() + settings_.options.command_timeout;
  }
}

void Channel::leave() noexcept {
  const std::lock_guard lock(mutex_);
  busy_ = false;
  changed_.notify_all();
}

void Channel::connect(Patience& patience) {
  if (patience.connecting == Connecting::never) {
    throw IoError(Errc::unreachable, "there is no connection");
  }
  set_session(nullptr);
  const TimePoint now = BootClock::now();
  const bool on_top = patience.connecting == Connecting::on_top;
  const TimePoint end = now + settings_.options.connect_timeout;
  {
    const std::lock_guard lock(mutex_);
    connecting_ = true;
    changed_.notify_all();
  }
  try {
    auto session = std::make_unique<Session>(settings_.endpoint, settings_.options,
                                             on_top ? end : std::min(end, patience.end));
    set_session(std::move(session));
  } catch (const IoError& error) {
    const std::lock_guard lock(mutex_);
    connecting_ = false;
    ++failures_;
    last_failure_ = error;
    throw;
  } catch (const std::bad_alloc&) {
    set_session(nullptr);
    throw;
  }
  if (on_top) patience.end = BootClock::now() + settings_.options.command_timeout;
}

std::unique_ptr<Session> Channel::set_session(std::unique_ptr<Session> session) noexcept {
  const std::lock_guard lock(mutex_);
  connecting_ = false;
  return std::exchange(session_, std::move(session));
}

void Channel::after_fork_in_child() noexcept {
  if (session_ != nullptr) {
    session_->abandon();
    // What another thread of the parent was changing cannot be taken apart.
    if (busy_) static_cast<void>(session_.release());
    session_.reset();
  }
  std::construct_at(&changed_);  // the parent's waiters are not here
  busy_ = false;
  connecting_ = false;
  mutex_.unlock();
}

}  // namespace redlatch::detail
