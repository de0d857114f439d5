#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include <redlatch/detail/executor.hpp>
#include <redlatch/protocol/command.hpp>

#include "session.hpp"
#include "wake_up.hpp"

namespace redlatch::detail {

/// The releases that the server has not answered yet, and the thread that repeats them until it
/// has, or until the lease is over. The thread starts with the first of them and sleeps while there
/// is none.
class OpenReleases {
 public:
  /// Says a request to the server, until the given time at the latest.
  using Say = std::function<void(TimePoint end, const Request&, Response&)>;

  /// Why a release is open. Behind a broken connection the server may read the command in doubt
  /// later than the release, so that a first "not ours" does not settle it.
  enum class After { no_answer, broken_connection };

  OpenReleases(std::chrono::milliseconds command_timeout, Say say)
      : command_timeout_(command_timeout), say_(std::move(say)) {}
  OpenReleases(const OpenReleases&) = delete;
  OpenReleases& operator=(const OpenReleases&) = delete;
  /// Waits for what is open, for at most `command_timeout`.
  ~OpenReleases();

  /// Tries again to start the thread, when that was not possible before. Costs nothing else.
  void ensure_started() noexcept {
    if (wants_thread_) retry_start();
  }

  void add(std::string_view key, const Undo& undo, After after) noexcept;

  /// Sends the release at once behind the command in doubt, on its own connection, and keeps that
  /// until both are answered.
  void adopt(std::unique_ptr<Session> session, std::string_view key, const Undo& undo) noexcept;

  // Around fork(2): the child has neither the thread nor its work.
  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  struct Release {
    std::string key;
    protocol::OwnedCommand command;
    TimePoint until;                      // then the lease is over by itself
    TimePoint due;                        // for the next attempt
    bool overtaken = false;               // a first "not ours" may be too early
    TimePoint settled_from{};             // when "not ours" is an answer
    std::chrono::milliseconds pause{10};  // before the attempt after that
    std::unique_ptr<Session> session{};   // where the answer is awaited, if anywhere
    bool sent = false;                    // on that session
  };
  using Releases = std::list<Release>;

  void put(Releases one) noexcept;
  void start() noexcept;
  void retry_start() noexcept;
  void run(std::unique_lock<std::mutex>& lock);
  void work(std::unique_lock<std::mutex>& lock);
  void rest(std::unique_lock<std::mutex>& lock);
  bool attempt(Release& release, TimePoint stop_at) const;
  static bool read(Release& release);
  static void drop_session(Release& release) noexcept;

  const std::chrono::milliseconds command_timeout_;
  const Say say_;

  std::mutex mutex_{};
  Releases open_{};
  Releases in_work_{};  // the one that the thread is busy with
  std::atomic<bool> wants_thread_ = false;
  bool stopping_ = false;
  TimePoint stop_at_ = TimePoint::max();
  WakeUp wake_up_{};
  std::thread thread_{};
};

}  // namespace redlatch::detail
