#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/quorum.hpp>

#include "background/background.hpp"
#include "base/fork_aware.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "client/keeper.hpp"
#include "client/quorum_ids.hpp"
#include "client/quorum_request.hpp"

namespace redlatch::detail {

/// What a `Quorum` and its locks share: a client for each server, and a background thread of its
/// own for renewals, which need a majority, and for events.
///
/// `renewing_` is held while renewals are sent and their replies awaited, so that the end of the
/// quorum waits for that. It is taken before all other mutexes, and not around a fork, which would
/// wait for the servers.
class QuorumCore final : public Keeper, private ForkAware {
 public:
  QuorumCore(const std::vector<std::string>& urls, QuorumOptions options);
  QuorumCore(const QuorumCore&) = delete;
  QuorumCore& operator=(const QuorumCore&) = delete;
  /// Waits for open releases at all servers at the same time, for at most `command_timeout`.
  ~QuorumCore() override;

  std::size_t servers() const noexcept override { return nodes_.size(); }
  std::string server(std::size_t index) const override { return nodes_[index]->core().server(0); }
  bool scripting() const noexcept override { return settings_.options.scripting; }
  void execute(std::span<const Request> requests, std::span<Response> responses, Enough enough,
               ConnectPolicy policy) override;
  void post(std::string_view key, const CleanupRelease& cleanup) noexcept override;

  std::unique_ptr<Waiter> enter_queue(std::string_view key, const LockOptions& wanted,
                                      QueueMode where) override {
    return nodes_.front()->core().enter_queue(key, wanted, where);
  }
  Metrics metrics() const override;
  std::uint64_t process() const noexcept override { return nodes_.front()->core().process(); }

 private:
  using Nodes = std::vector<std::unique_ptr<Node>>;

  Nodes make_nodes(const std::vector<std::string>& urls, QuorumOptions options);
  Background& background() noexcept override { return background_; }
  RoutePin route(std::string_view) noexcept override { return {}; }
  void renew(std::span<Lease* const> due) REDLATCH_EXCLUDES(renewing_);

  // The mutexes of the members are locked by one call and unlocked by another, which the analysis
  // cannot follow, as these are no mutexes of this class.
  void before_fork() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_parent() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_child() noexcept override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  std::optional<std::string> held_value(std::string_view key, std::string_view owner_tag) override {
    return background_.renewer().held_value(key, owner_tag, now());
  }

  const Settings settings_;
  const std::chrono::milliseconds server_timeout_;
  DistinctServers distinct_servers_;
  PollNotifierPool notifiers_{};
  Mutex renewing_{};
  bool closed_ REDLATCH_GUARDED_BY(renewing_) = false;  // no renewal is sent any more
  Background background_;  // destroyed after the nodes, which record their events in it
  // Before the registration, so that a fork locks the mutexes of the nodes before those of this
  // class: a node records its events here with some of its mutexes held.
  Nodes nodes_;
  ForkRegistration registration_{*this};
};

}  // namespace redlatch::detail
