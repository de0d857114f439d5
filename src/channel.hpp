#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string_view>

#include <redlatch/detail/executor.hpp>

#include "aftermath.hpp"
#include "exchange.hpp"
#include "io_error.hpp"
#include "settings.hpp"

namespace redlatch::detail {

/// One of the client's connections, shared by all its callers. Everything about a key goes through
/// the same channel, so it arrives in the order in which it was said.
///
/// There is no thread of its own. A caller that finds the channel idle leads: it writes and reads.
/// Who comes meanwhile queues up. A leader whose own answer has come writes everything queued in
/// one go and makes one of those the next leader, so that one batch is under way at a time.
///
/// An exchange is in `queue_`, then in `line_.unanswered`, perhaps in `mend_`, and at last in
/// `spare_`. Only the leader takes it from one to the next; `mutex_` guards all of that, and what
/// is said in `Caller`.
class Channel {
 public:
  Channel(const Settings& settings, Aftermath& aftermath)
      : settings_(settings), aftermath_(aftermath) {}

  /// Says one request and leaves the replies, or the failure, in `response`. `end` is that of the
  /// wait for an answer, had nobody to connect.
  void execute(const Request& request, Response& response, Connecting connecting, TimePoint end);

  enum class Posted { yes, no_connection, no_memory, needs_conversation };
  /// Sends a release at once, or puts it into the next batch, and waits for nothing.
  Posted post(std::string_view key, const Undo& undo) noexcept;

  /// Says releases again, connecting if need be, until `latest` or until `cancel` gets readable.
  void repeat(Exchanges releases, TimePoint latest, int cancel) noexcept;
  /// Takes in what has come when nobody leads. False when there is nothing to come.
  bool take_in() noexcept;
  /// Nobody uses the channel any more: sends and reads what is owed, until `end` at the latest.
  void finish(TimePoint end) noexcept;

  // Around fork(2): nobody changes the channel meanwhile, and the child forgets the connection.
  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  using Guard = std::unique_lock<std::mutex>;

  /// How long a caller goes on waiting. Time spent connecting, by itself or by others before it, is
  /// not counted against the answer, but is at most `connect_timeout` in all.
  struct Patience {
    Connecting connecting;
    TimePoint end;  // of the wait for an answer, had nobody to connect
    std::chrono::nanoseconds connected_before;
  };

  enum class Whose { everybodys, nobodys };

  void await(Caller& caller, const Patience& patience, Guard& guard);
  void lead(Caller& caller, const Patience& patience, Guard& guard);
  void step(Caller& caller, const Patience& patience, Guard& guard);
  void pass_on(Guard& guard) noexcept;
  void appoint(Caller& caller) noexcept;

  void refresh();
  void connect(Caller* caller, const Patience& patience, int cancel, Guard& guard);
  bool say_queued(Whose whose);
  void converse(Caller& caller, TimePoint end, Guard& guard);
  template <class Conversation>
  void talk(Exchange& about, Guard& guard, Conversation conversation);
  void read(TimePoint end, Guard& guard);
  void deliver() noexcept;
  bool needs_mending(Exchange& exchange) const noexcept;
  void take_turns();
  bool needs_conversation(const Exchange& release) const noexcept;
  void mend(TimePoint end, Guard& guard);
  void answer(Exchanges& from) noexcept;
  void give_up(Caller& caller, Errc code, const char* why) noexcept;
  void fail(Exchanges& from, Exchanges::iterator one, const IoError* why) noexcept;
  void fail_queued(const IoError& why) noexcept;
  void break_off(const IoError* why) noexcept;
  void retire() noexcept;
  void open(Exchanges& from, Exchanges::iterator one) noexcept;
  void open_releases(Exchanges& from) noexcept;

  Exchanges::iterator spare();
  void put_away(Exchanges& from, Exchanges::iterator one) noexcept;
  Caller* next_leader() noexcept;
  bool is_stale() const noexcept;
  std::chrono::nanoseconds connecting_time() const noexcept;
  TimePoint end_of(const Patience& patience) const noexcept;

  const Settings& settings_;
  Aftermath& aftermath_;

  std::mutex mutex_{};
  bool led_ = false;
  Line line_{};
  Exchanges queue_{};
  Exchanges mend_{};  // refused for a reason that the leader can do something about
  Exchanges spare_{};
  std::size_t waiting_ = 0;  // callers whose request was said
  TimePoint used_{};         // when something was last sent or received
  bool connecting_ = false;
  TimePoint connecting_since_{};
  std::chrono::nanoseconds connected_for_{0};  // spent in all on connecting
};

}  // namespace redlatch::detail
