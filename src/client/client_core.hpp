#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "background/background.hpp"
#include "base/fork_aware.hpp"
#include "base/memory_retry.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "client/keeper.hpp"
#include "engine/node_connections.hpp"
#include "engine/shared_connection.hpp"
#include "wait/wait_queues.hpp"

namespace redlatch::detail {

/// What a `Client` and its locks share: the connections to one server, or to the nodes of a
/// cluster, the queues of waiters, and the background thread.
///
/// It has no mutex of its own. Those of its members are taken in the order `WaitQueues`,
/// `NodeConnections`, `SharedConnection`, `Background`, `Notifier`, `Renewer`, which is also the
/// order before a fork; the topology's is taken under all of these but the last two, and takes none
/// of them.
class ClientCore final : public Keeper,
                         public std::enable_shared_from_this<ClientCore>,
                         private ForkAware {
 public:
  ClientCore(std::string_view url, ClientOptions options, NodeRole role = {});
  ~ClientCore() override = default;

  std::size_t servers() const noexcept override { return 1; }
  std::string server(std::size_t) const override { return settings_.server; }
  bool scripting() const noexcept override { return settings_.options.scripting; }
  void execute(std::span<const Request> requests, std::span<Response> responses, Enough enough,
               ConnectPolicy policy) override;
  void post(std::string_view key, const CleanupRelease& cleanup) noexcept override;
  /// The same as one of several clients that share the time in which memory may come back.
  void post(std::string_view key, const CleanupRelease& cleanup, MemoryRetry& retry) noexcept;
  std::unique_ptr<Waiter> enter_queue(std::string_view key, const LockOptions& wanted,
                                      QueueMode where) override {
    return wait_queues_.enter(key, wanted, where);
  }
  bool is_waited_for(std::string_view key) const noexcept override {
    return wait_queues_.is_waited_for(key);
  }
  bool is_contended(std::string_view key) const noexcept override {
    return wait_queues_.is_contended(key);
  }
  bool hand_over(std::string_view key, LeasePtr& lease,
                 const LockOptions& given) noexcept override {
    return wait_queues_.hand_over(key, lease, given);
  }
  void wake_first(std::string_view key) noexcept override { wait_queues_.wake_first(key); }
  Metrics metrics() const override {
    Metrics metrics = background_.metrics();
    metrics.waiting = wait_queues_.size();
    return metrics;
  }
  std::uint64_t process() const noexcept override { return process_; }

  /// The connection of the key, certain only while the key is pinned. `apart`: that for commands
  /// which block at the server, such as WAIT, so that others do not wait behind them.
  SharedConnection& connection_of(std::string_view key, bool apart = false) noexcept {
    return connections_.of(key, apart);
  }
  /// Begins the end of the client, so that several clients can end at the same time.
  void stop() noexcept { background_.stop(); }
  /// Has the background thread connect the connection; does not wait for it.
  /// Why not, if that cannot be.
  std::error_code connect(SharedConnection& connection) noexcept {
    return background_.connect(connection);
  }

 private:
  Background& background() noexcept override { return background_; }
  RoutePin route(std::string_view key) noexcept override;
  void refuse_several_slots(const Request& request) const;
  void await_releases(const Request& request, TimePoint end);
  /// Whether the release of several keys may be pending on a connection. An acquisition of one of
  /// the keys on another connection could overtake it.
  bool several_owed() const noexcept { return several_settled_ != several_posted_; }
  void note_owed(const CleanupRelease& cleanup) noexcept {
    if (Keys::are_several(cleanup.command)) ++several_posted_;
  }

  // The mutexes of the members are locked by one call and unlocked by another, which the analysis
  // cannot follow, as these are no mutexes of this class.
  void before_fork() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_parent() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_child() noexcept override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  std::optional<std::string> held_value(std::string_view key, std::string_view owner_tag) override {
    return background_.renewer().held_value(key, owner_tag, now());
  }

  const Settings settings_;
  std::atomic<std::uint64_t> process_ = 0;
  std::atomic<std::size_t> callers_ = 0;  // threads in `execute`
  // Releases of several keys that were posted, and how many of these are known to be over. Not a
  // flag: the acquisition that first waits for such a release would clear it, and the next ones
  // would not wait.
  std::atomic<std::uint64_t> several_posted_ = 0;
  std::atomic<std::uint64_t> several_settled_ = 0;
  NodeConnections connections_;
  WaitQueues wait_queues_;
  Background background_;  // destroyed before the connections and queues, which its thread uses
  // Begins at the end of the constructor: a fork on another thread goes through all members.
  std::optional<ForkRegistration> registration_{};
};

}  // namespace redlatch::detail
