#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fake_messages.hpp"
#include "fake_sessions.hpp"
#include "world.hpp"

namespace redlatch::test {

/// A Sentinel, as far as clients ask one: SENTINEL with GET-MASTER-ADDR-BY-NAME, MASTER, MASTERS
/// and SENTINELS, PING, and SUBSCRIBE. What it knows, it is told by whatever has it.
class FakeSentinel final : public Peer {
 public:
  /// Of a service.
  struct Knowledge {
    std::uint16_t primary = 0;  // its port
    std::uint64_t epoch = 0;    // of the configuration
  };
  /// Called when a process has got an answer of this epoch.
  using OnTold = std::function<void(int process, std::uint64_t epoch)>;

  FakeSentinel(std::uint16_t port, std::string service, std::vector<std::uint16_t> others,
               OnTold on_told)
      : port_(port),
        service_(std::move(service)),
        others_(std::move(others)),
        on_told_(std::move(on_told)) {}

  std::uint16_t port() const noexcept { return port_; }
  /// Neither stopped nor ended.
  bool runs = true;
  const Knowledge& knowledge() const noexcept { return knowledge_; }
  void learn(const Knowledge& knowledge) { knowledge_ = knowledge; }
  /// `text`: behind the kind of the event.
  void publish(std::string_view event, const std::string& text);
  void restart() { sessions_.restart(); }

  Connection connect() override { return sessions_.connect(); }
  void receive(Connection connection, std::string_view bytes) override;
  std::string take_output(Connection connection) override;
  std::vector<Connection> with_output() const override { return sessions_.with_output(); }
  bool is_closed(Connection connection) const override { return sessions_.is_closed(connection); }
  void disconnect(Connection connection) override;
  void arrived(Connection connection, std::uint64_t bytes, int process) override;

 private:
  /// What was said on a connection.
  struct Said {
    std::uint64_t epoch = 0;  // the last
    std::uint64_t taken = 0;  // bytes of the output
    // Behind which byte an answer of which epoch is complete.
    std::deque<std::pair<std::uint64_t, std::uint64_t>> answers{};
  };

  void answer(Connection connection, FakeClient& client, Words words);
  void answer_about_service(Connection connection, FakeClient& client, std::string_view question);

  std::uint16_t port_;
  std::string service_;
  std::vector<std::uint16_t> others_;
  OnTold on_told_;
  Knowledge knowledge_{};
  FakeServerOptions options_{};
  FakeSessions sessions_{options_};
  FakeMessages messages_{sessions_.clients()};
  std::map<Connection, Said> said_{};
};

}  // namespace redlatch::test
