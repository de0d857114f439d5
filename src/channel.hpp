#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include <redlatch/detail/executor.hpp>

#include "io_error.hpp"
#include "session.hpp"
#include "settings.hpp"

namespace redlatch::detail {

class OpenReleases;

/// One of the client's connections, used by one caller at a time. Everything about a key goes
/// through the same channel, so it arrives in the order in which it was said.
class Channel {
 public:
  Channel(const Settings& settings, OpenReleases& open_releases)
      : settings_(settings), open_releases_(open_releases) {}

  /// Says one request and leaves the replies, or the failure, in `response`.
  void execute(const Request& request, Response& response, Connecting connecting);
  /// The same, with nothing taken longer than until `end`.
  void execute_until(TimePoint end, const Request& request, Response& response);

  // Around fork(2): nobody changes the channel meanwhile, and the child forgets the connection.
  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  /// How long a caller goes on waiting. Time spent connecting, by itself or by the caller before
  /// it, is not counted against the answer, but is at most `connect_timeout` in all.
  struct Patience {
    Connecting connecting;
    TimePoint end;  // of the wait for an answer
    std::chrono::nanoseconds for_connecting;

    bool on_top() const noexcept { return connecting == Connecting::on_top; }
    void spend_connecting(std::chrono::nanoseconds time) noexcept;
  };
  /// The callers that wait for their turn, first come, first served.
  using Queue = std::list<std::condition_variable>;

  void enter(Patience& patience);
  void await_turn(Patience& patience, std::unique_lock<std::mutex>& lock);
  void leave() noexcept;
  void connect(Patience& patience);
  void exchange(Patience patience, const Request& request, Response& response);
  void clean_up(const Request& request, Errc why);
  void wake_all() noexcept;
  std::unique_ptr<Session> set_session(std::unique_ptr<Session> session) noexcept;

  const Settings& settings_;
  OpenReleases& open_releases_;

  std::mutex mutex_{};
  Queue queue_{};
  bool busy_ = false;
  bool connecting_ = false;
  std::uint64_t failures_ = 0;  // to connect, with all of `connect_timeout`
  std::optional<IoError> last_failure_{};
  std::unique_ptr<Session> session_{};  // used by the caller that made the channel busy
};

}  // namespace redlatch::detail
