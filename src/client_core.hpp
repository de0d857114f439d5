#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "background.hpp"
#include "channel.hpp"
#include "fork_aware.hpp"
#include "settings.hpp"
#include "waiting_room.hpp"

namespace redlatch::detail {

/// What a `Client` and its locks share: the channels to one server, and the thread behind them.
class ClientCore final : public Executor,
                         public std::enable_shared_from_this<ClientCore>,
                         private ForkAware {
 public:
  ClientCore(std::string_view url, ClientOptions options);
  ~ClientCore() override = default;

  std::size_t servers() const noexcept override { return 1; }
  std::string server(std::size_t) const override { return settings_.server; }
  bool scripting() const noexcept override { return settings_.options.scripting; }
  void execute(std::span<const Request> requests, std::span<Response> responses, Enough enough,
               Connecting connecting) override;
  void post(std::string_view key, const Undo& undo) noexcept override;
  Tenure& open_tenure() override {
    background_.require_thread();
    return background_.renewer().open();
  }
  void close_tenure(Tenure& tenure) noexcept override { background_.renewer().close(tenure); }
  void keep(Tenure& tenure) noexcept override { background_.keep(tenure); }
  void suspend(Tenure& tenure) noexcept override { background_.renewer().suspend(tenure); }
  void take_back(Tenure& tenure) noexcept override { background_.renewer().take_back(tenure); }
  bool take_back_for_good(Tenure& tenure) noexcept override {
    return background_.renewer().take_back_for_good(tenure);
  }
  std::stop_token lost_token(Tenure& tenure) override {
    return background_.renewer().lost_token(tenure);
  }
  void happened(EventKind kind, std::string_view key, TimePoint since,
                std::error_code error) noexcept override {
    background_.happened(kind, key, since, error);
  }
  std::unique_ptr<QueuePlace> line_up(std::string_view key, const LockOptions& wanted,
                                      InLine where) override {
    return room_.enter(key, wanted, where);
  }
  bool is_waited_for(std::string_view key) const noexcept override {
    return room_.is_waited_for(key);
  }
  bool is_contended(std::string_view key) const noexcept override {
    return room_.is_contended(key);
  }
  bool hand_over(std::string_view key, TenureOf& lease,
                 const LockOptions& given) noexcept override {
    return room_.hand_over(key, lease, given, now());
  }
  void call_first(std::string_view key) noexcept override { room_.call_first(key); }
  Metrics metrics() const override {
    Metrics metrics = background_.metrics();
    metrics.waiting = room_.size();
    return metrics;
  }
  TimePoint now() const noexcept override { return BootClock::now(); }
  std::uint64_t process() const noexcept override { return process_; }

 private:
  Channel& channel_of(std::string_view key, bool apart = false) noexcept;

  void before_fork() override;
  void after_fork_in_parent() override;
  void after_fork_in_child() noexcept override;

  const Settings settings_;
  std::atomic<std::uint64_t> process_ = 0;
  std::vector<std::unique_ptr<Channel>> channels_{};  // and as many for what is said apart
  WaitingRoom room_;
  Background background_;  // goes before the channels and the room, which its thread needs
  ForkRegistration registration_{*this};
};

}  // namespace redlatch::detail
