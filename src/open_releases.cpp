#include "open_releases.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <redlatch/protocol/reply.hpp>

#include "io_error.hpp"
#include "poll.hpp"

namespace redlatch::detail {

using protocol::Reply;

namespace {

constexpr std::chrono::milliseconds longest_pause{1000};

/// So many connections are kept for their late answers, and no more, while a server is silent.
constexpr std::ptrdiff_t most_sessions = 16;

/// A key that is no lock any more is not ours either.
bool is_answer(const Reply& reply) noexcept {
  return !reply.is_error() || protocol::classify(reply.text) == Errc::wrong_type;
}

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

OpenReleases::~OpenReleases() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    stop_at_ = BootClock::now() + command_timeout_;
    if (!thread_.joinable()) run(lock);
  }
  wake_up_.signal();
  if (thread_.joinable()) thread_.join();
}

void OpenReleases::add(std::string_view key, const Undo& undo, After after) noexcept {
  try {
    const TimePoint now = BootClock::now();
    Releases one;
    one.push_back({.key = std::string(key),
                   .command = protocol::OwnedCommand(undo.command),
                   .until = now + undo.ttl,
                   .due = now});
    one.back().overtaken = after == After::broken_connection;
    put(std::move(one));
  } catch (const std::bad_alloc&) {
    // Nothing can be remembered without memory: the ttl does the rest.
  }
}

void OpenReleases::adopt(std::unique_ptr<Session> session, std::string_view key,
                         const Undo& undo) noexcept {
  try {
    const TimePoint until = BootClock::now() + undo.ttl;
    Releases one;
    one.push_back({.key = std::string(key),
                   .command = protocol::OwnedCommand(undo.command),
                   .until = until,
                   .due = until});
    one.back().sent = session->send_undo(undo.command);
    one.back().session = std::move(session);
    put(std::move(one));
  } catch (const std::exception&) {
    session.reset();
    add(key, undo, After::broken_connection);
  }
}

void OpenReleases::put(Releases one) noexcept {
  const std::lock_guard lock(mutex_);
  const auto waits = [](const Release& release) { return release.session != nullptr; };
  if (std::count_if(open_.begin(), open_.end(), waits) >= most_sessions && waits(one.front())) {
    drop_session(one.front());
  }
  open_.splice(open_.end(), one);
  start();
  wake_up_.signal();
}

void OpenReleases::start() noexcept {
  if (thread_.joinable()) return;
  wants_thread_ = true;
  try {
    const SignalsBlocked blocked;
    wake_up_.open();
    thread_ = std::thread([this] {
      std::unique_lock lock(mutex_);
      run(lock);
    });
    wants_thread_ = false;
  } catch (const std::exception&) {
    // No thread or descriptor is left: the next command tries again, and so does the destructor.
  }
}

void OpenReleases::retry_start() noexcept {
  const std::lock_guard lock(mutex_);
  start();
}

/// What was sent on it is read by the server before it sees the end.
void OpenReleases::drop_session(Release& release) noexcept {
  release.session.reset();
  release.overtaken = true;
  release.due = BootClock::now();
}

void OpenReleases::run(std::unique_lock<std::mutex>& lock) {
  const auto over = [this] { return stopping_ && (open_.empty() || BootClock::now() >= stop_at_); };
  while (!over()) {
    try {
      work(lock);
      if (!over()) rest(lock);
    } catch (const std::exception&) {
      // Out of memory, say: what is open stays open.
      if (!lock.owns_lock()) lock.lock();
      open_.splice(open_.end(), in_work_);
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      lock.lock();
    }
  }
}

/// Tries what is due.
void OpenReleases::work(std::unique_lock<std::mutex>& lock) {
  const TimePoint now = BootClock::now();
  const auto is_due = [&](const Release& release) {
    return release.due <= now && (!stopping_ || BootClock::now() < stop_at_);
  };
  for (auto due = std::find_if(open_.begin(), open_.end(), is_due); due != open_.end();
       due = std::find_if(open_.begin(), open_.end(), is_due)) {
    in_work_.splice(in_work_.end(), open_, due);
    const TimePoint stop_at = stop_at_;
    lock.unlock();
    const bool settled = attempt(in_work_.front(), stop_at);
    lock.lock();
    if (settled) in_work_.clear();
    open_.splice(open_.end(), in_work_);
  }
}

/// Sleeps until something is due or a server has spoken.
void OpenReleases::rest(std::unique_lock<std::mutex>& lock) {
  TimePoint end = stop_at_;
  std::vector<pollfd> watched{{.fd = wake_up_.fd(), .events = POLLIN, .revents = 0}};
  for (const Release& release : open_) {
    end = std::min(end, release.due);
    if (release.session != nullptr) {
      watched.push_back({.fd = release.session->fd(), .events = POLLIN, .revents = 0});
    }
  }
  lock.unlock();
  poll_until(watched, end);
  lock.lock();
  wake_up_.clear();
  for (Release& release : open_) {
    const bool spoken = std::any_of(watched.begin(), watched.end(), [&](const pollfd& one) {
      return release.session != nullptr && one.fd == release.session->fd() && one.revents != 0;
    });
    if (spoken) release.due = BootClock::now();
  }
}

/// True when there is nothing left to do.
bool OpenReleases::attempt(Release& release, TimePoint stop_at) const {
  TimePoint now = BootClock::now();
  if (now >= release.until) return true;
  if (release.session != nullptr) return read(release);

  const protocol::Command command = release.command.view();
  Response response;
  say_(std::min(now + command_timeout_, stop_at), {.key = release.key, .commands = {&command, 1}},
       response);
  now = BootClock::now();
  if (!response.failure && is_answer(response.replies.front())) {
    if (protocol::verdict(response.replies.front()) == protocol::Verdict::yes) return true;
    if (std::exchange(release.overtaken, false)) {
      release.settled_from = now + command_timeout_;
    } else if (now >= release.settled_from) {
      return true;
    }
    release.due = release.settled_from;
  } else {
    release.due = now + release.pause;
    release.pause = std::min(2 * release.pause, longest_pause);
  }
  return false;
}

/// What the connection says that saw a time-out: first the answer in doubt, then that to the
/// release.
bool OpenReleases::read(Release& release) {
  release.due = release.until;
  try {
    const std::optional<Reply> last = release.session->read_owed();
    if (!last) return false;
    if (release.sent && is_answer(*last)) return true;
    release.session.reset();
    release.due = BootClock::now();
  } catch (const IoError&) {
    drop_session(release);
  }
  return false;
}

void OpenReleases::after_fork_in_child() noexcept {
  for (Releases* releases : {&open_, &in_work_}) {
    for (Release& release : *releases) {
      if (release.session != nullptr) release.session->abandon();
    }
  }
  open_.clear();
  std::construct_at(&in_work_);  // the parent's thread was changing it
  std::construct_at(&thread_);
  wants_thread_ = false;
  wake_up_.close();
  mutex_.unlock();
}

}  // namespace redlatch::detail
