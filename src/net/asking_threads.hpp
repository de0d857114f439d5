#pragma once

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <redlatch/detail/finally.hpp>
#include <redlatch/options.hpp>

#include "base/event_fd.hpp"
#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "base/url.hpp"
#include "net/detached_call.hpp"
#include "net/poll.hpp"
#include "net/resolver.hpp"
#include "net/tls_transport.hpp"

namespace redlatch::detail {

/// The threads on which a topology asks servers where another server is, each for one call: host
/// names, connections and a program's function may hang. The threads may outlive what waits for
/// their results, but not `wait_for_all`, unless they are in a program's function: they use TLS,
/// whose library may be cleaned up when the process exits.
///
/// The topology's mutex guards it, but for `wait_for_all`.
class AskingThreads {
 public:
  /// How long an answer counts as new.
  static constexpr std::chrono::milliseconds fresh_for{100};
  /// The maximum wait for an answer while there is an older one.
  static constexpr std::chrono::milliseconds max_wait_for_newer{500};
  /// The maximum wait for more answers about a server that has just answered itself: with the
  /// default `command_timeout`, a call has the time for both.
  static constexpr std::chrono::milliseconds max_wait_to_confirm{400};
  /// How many failures an error names.
  static constexpr std::size_t max_named = 5;
  /// With which servers are asked. They have this long at least: a stop of this process that is too
  /// short to be noticed must not take all of their time.
  static ClientOptions options(const ClientOptions& given) {
    constexpr std::chrono::milliseconds min_connect_timeout{500};
    return {.connect_timeout = std::max(given.connect_timeout, min_connect_timeout),
            .command_timeout = given.command_timeout};
  }

  /// Whether a call that has failed just now was too late for this process alone, which was stopped
  /// meanwhile: it says nothing about the server. A thread may be a little late on a busy machine.
  static bool was_stopped(TimePoint begun, std::chrono::milliseconds connect_timeout) noexcept {
    return BootClock::now() - begun >= connect_timeout + std::chrono::milliseconds(100);
  }

  /// A server cannot be asked then, which says nothing about it.
  static bool has_no_descriptor() noexcept {
    try {
      EventFd one;
      one.open();
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  }

  /// A topology's looks at what the servers have answered. A thread that waits for answers, or
  /// connects, looks every `fresh_for` at least: it may be the only one. Two looks that are twice
  /// as far apart show that this process was stopped, so that the servers may have had no time.
  class Looks {
   public:
    void look() noexcept {
      const TimePoint now = BootClock::now();
      if (now - std::exchange(last_, now) > 2 * fresh_for) behind_pause_ = now;
    }
    /// At each look: since when a wait counts that began then.
    TimePoint count_from(TimePoint begun) noexcept {
      look();
      return std::max(begun, behind_pause_);
    }

   private:
    TimePoint last_{};
    TimePoint behind_pause_{};
  };

  /// One call, and the server that it asks.
  template <class Outcome>
  struct Call {
    Address address;
    std::shared_ptr<const DetachedCall<Outcome>> asking;
    const DetachedCall<Outcome>* operator->() const noexcept { return asking.get(); }
    /// What an error says of a call that is not over when the time is.
    /// `maps`: it may also be in a program's function.
    std::string complaint(bool maps) const {
      return written(address) + ": no answer within connect_timeout" +
             (maps ? ", or ClientOptions::map_address has not returned" : "");
    }
  };

  /// Counts one thread until it owns nothing that uses TLS any more.
  class Talk {
   public:
    explicit Talk(std::shared_ptr<std::atomic<int>> talks) : talks_(std::move(talks)) { ++*talks_; }
    Talk(const Talk&) = delete;
    Talk& operator=(const Talk&) = delete;
    ~Talk() { pause(); }

    /// In front of what may take for ever, and uses no TLS.
    void pause() noexcept {
      if (!std::exchange(counts_, false)) return;
      if (--*talks_ == 0) talks_->notify_all();
    }
    void go_on() noexcept {
      counts_ = true;
      ++*talks_;
    }

   private:
    const std::shared_ptr<std::atomic<int>> talks_;
    bool counts_ = true;
  };

  /// To ask the server at the address. `login`: user and password, and nothing else; `tls`: null
  /// without TLS; `credentials`: null for those of the login.
  static std::shared_ptr<const Settings> settings_for(
      const Address& address, Endpoint login, const NodeRole& role, const ClientOptions& with,
      const std::shared_ptr<TlsContext>& tls, std::shared_ptr<CredentialSource> credentials = {});

  /// Until `enough` calls have an answer that is of use, or some have and the others are late, or
  /// all calls are over. Throws `Cancelled` when `cancel` gets readable.
  template <class Calls, class IsOfUse>
  static void wait_for(const Calls& calls, std::size_t enough, IsOfUse is_of_use,
                       TimePoint deadline, int cancel) {
    std::optional<TimePoint> first;
    for (;;) {
      std::vector<pollfd> watched{{.fd = cancel, .events = POLLIN, .revents = 0}};
      std::size_t answered = 0;
      for (const auto& call : calls) {
        if (!call->is_finished()) {
          watched.push_back({.fd = call->fd(), .events = POLLIN, .revents = 0});
        } else if (is_of_use(call->result())) {
          ++answered;
        }
      }
      const TimePoint now = BootClock::now();
      if (answered > 0 && !first) first = now;
      const TimePoint end = first ? std::min(deadline, *first + more_answers) : deadline;
      if (answered >= enough || watched.size() == 1 || now >= end) return;
      poll_until(watched, end);
      if (watched.front().revents != 0) throw Cancelled();
    }
  }

  /// Behind `wait_for` in vain: until the calls are over whose time, `connect_timeout`, ends with
  /// the deadline. They began a moment later than what waits for them, and say what each server was
  /// at.
  template <class Calls>
  static void wait_for_failures(Calls calls, std::chrono::milliseconds connect_timeout,
                                TimePoint deadline, int cancel) {
    const TimePoint end = deadline + more_failures;
    std::erase_if(calls, [&](const auto& one) { return one->begun() + connect_timeout > end; });
    wait_for(
        calls, calls.size() + 1, [](const auto& /*outcome*/) { return false; }, end, cancel);
  }

  /// `cancel` gets readable when the call is to end.
  template <class Result>
  using Function = std::function<Result(Talk& talk, int cancel)>;

  /// Throws `std::system_error` when there is no thread or descriptor left.
  template <class Result>
  std::shared_ptr<DetachedCall<Result>> start(Function<Result> function) {
    end_.open();
    return DetachedCall<Result>::start(Work<Result>{.talk = std::make_shared<Talk>(talks_),
                                                    .function = std::move(function),
                                                    .cancel = end_.fd()});
  }

  /// The same, but null when there is no thread or descriptor left.
  template <class Result>
  std::shared_ptr<DetachedCall<Result>> try_start(Function<Result> function) {
    try {
      return start<Result>(std::move(function));
    } catch (const std::system_error& error) {
      shortage_ = error.code();
      return nullptr;
    }
  }
  /// Whether `try_start` has returned null since `forget_shortage`.
  bool are_short() const noexcept { return static_cast<bool>(shortage_); }
  /// Why it has, the last time. `what`: what was to be asked.
  std::string why_short(const char* what) const {
    return std::string("no thread can be started to ask ") + what + " (" + shortage_.message() +
           ")";
  }
  void forget_shortage() noexcept { shortage_.clear(); }

  /// Ends all calls.
  void cancel() noexcept { end_.signal(); }
  void wait_for_all() const noexcept {
    for (int talks = *talks_; talks != 0; talks = *talks_) talks_->wait(talks);
  }
  /// The child has none of the threads.
  void after_fork_in_child() noexcept {
    *talks_ = 0;
    end_.close();
  }

 private:
  /// The members are destroyed from the last one on: the thread is counted until it owns nothing
  /// else.
  template <class Result>
  struct Work {
    std::shared_ptr<Talk> talk;
    Function<Result> function;
    int cancel;

    Result operator()() {
      const Finally leave([] { leave_tls(); });
      return function(*talk, cancel);
    }
  };

  /// The wait for more answers behind the first one.
  static constexpr std::chrono::milliseconds more_answers{100};
  /// The wait for calls that are about to end.
  static constexpr std::chrono::milliseconds more_failures{100};

  // Owned by the threads, too.
  const std::shared_ptr<std::atomic<int>> talks_ = std::make_shared<std::atomic<int>>(0);
  EventFd end_{};
  std::error_code shortage_{};  // why a thread could not be started
};

inline std::shared_ptr<const Settings> AskingThreads::settings_for(
    const Address& address, Endpoint login, const NodeRole& role, const ClientOptions& with,
    const std::shared_ptr<TlsContext>& tls, std::shared_ptr<CredentialSource> credentials) {
  login.host = address.host;
  login.port = address.port;
  auto its_tls = tls_for_host(tls, address.host);
  auto resolver = std::make_shared<Resolver>(login, its_tls);
  return std::make_shared<Settings>(Settings{.endpoint = std::move(login),
                                             .options = with,
                                             .server = written(address),
                                             .role = role,
                                             .topology = std::move(resolver),
                                             .tls = std::move(its_tls),
                                             .credentials = std::move(credentials),
                                             .closings = std::make_shared<Closings>()});
}

}  // namespace redlatch::detail
