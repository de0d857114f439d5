#pragma once

#include <string_view>
#include <system_error>

#include <redlatch/detail/executor.hpp>

#include "background/background.hpp"
#include "base/routes.hpp"

namespace redlatch::detail {

/// What every executor does with its background thread.
class Keeper : public Executor {
 public:
  Tenure& open_tenure(std::string_view key) override {
    background().require_thread();
    return background().renewer().open(route(key));
  }
  void close_tenure(Tenure& tenure) noexcept override { background().renewer().close(tenure); }
  void keep(Tenure& tenure) noexcept override { background().keep(tenure); }
  void suspend(Tenure& tenure) noexcept override { background().renewer().suspend(tenure); }
  void take_back(Tenure& tenure) noexcept override { background().renewer().take_back(tenure); }
  bool take_back_for_good(Tenure& tenure) noexcept override {
    return background().renewer().take_back_for_good(tenure);
  }
  std::stop_token lost_token(Tenure& tenure) override {
    return background().renewer().lost_token(tenure);
  }
  void happened(EventKind kind, std::string_view key, TimePoint since,
                std::error_code error) noexcept override {
    background().happened(kind, key, since, error);
  }
  TimePoint now() const noexcept override { return BootClock::now(); }

 private:
  virtual Background& background() noexcept = 0;
  /// Decides through which connection a lease of the key goes, for as long as the lease lives.
  virtual RoutePin route(std::string_view key) noexcept = 0;
};

}  // namespace redlatch::detail
