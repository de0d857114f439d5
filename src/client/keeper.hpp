#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "background/background.hpp"
#include "base/fork_aware.hpp"
#include "base/routes.hpp"

namespace redlatch::detail {

/// The part of an executor that its background thread does: leases and events. The same for a
/// client and a quorum.
class Keeper : public Executor {
 public:
  // The thread first: a lease that could not be renewed, or its loss not be notified, must not
  // begin.
  Lease& open_lease(std::string_view key) override {
    background().require_thread();
    return background().renewer().open(route(key));
  }
  void close_lease(Lease& lease) noexcept override { background().renewer().close(lease); }
  void keep(Lease& lease) noexcept override { background().keep(lease); }
  void suspend(Lease& lease) noexcept override { background().renewer().suspend(lease); }
  void pause_renewal(Lease& lease) noexcept override {
    background().renewer().pause_renewal(lease);
  }
  bool detach(Lease& lease) noexcept override { return background().renewer().detach(lease); }
  std::stop_token lost_token(Lease& lease) override {
    return background().renewer().lost_token(lease);
  }
  int holding_thread(std::string_view key, const protocol::Command& command) noexcept override {
    return background().renewer().holding_thread(key, command);
  }
  std::vector<std::string> held_in_process(std::string_view key,
                                           std::string_view owner_tag) override {
    return detail::held_in_process(key, owner_tag);
  }
  void record_event(const EventRecord& record) noexcept override {
    background().record_event(record);
  }
  TimePoint now() const noexcept override { return BootClock::now(); }

 private:
  virtual Background& background() noexcept = 0;
  /// Decides through which connection a lease of the key goes, for as long as the lease lives.
  virtual RoutePin route(std::string_view key) noexcept = 0;
};

}  // namespace redlatch::detail
