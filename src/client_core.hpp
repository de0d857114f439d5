#pragma once

#include <atomic>
#include <memory>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "background.hpp"
#include "channel.hpp"
#include "fork_aware.hpp"
#include "settings.hpp"

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
  void execute(std::span<const Request> requests, std::span<Response> responses, Enough enough,
               Connecting connecting) override;
  void post(std::string_view key, const Undo& undo) noexcept override;
  TimePoint now() const noexcept override { return BootClock::now(); }
  void pause(TimePoint::duration time) override;
  std::uint64_t process() const noexcept override { return process_; }

 private:
  Channel& channel_of(std::string_view key) noexcept;

  void before_fork() override;
  void after_fork_in_parent() override;
  void after_fork_in_child() noexcept override;

  const Settings settings_;
  std::atomic<std::uint64_t> process_ = 0;
  std::vector<std::unique_ptr<Channel>> channels_{};
  Background background_;  // goes before the channels, which its last attempts need
  ForkRegistration registration_{*this};
};

}  // namespace redlatch::detail
