#pragma once

#include <gtest/gtest.h>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "engine/multiplexer.hpp"

namespace redlatch::test {

using namespace std::chrono_literals;
using detail::Leftovers;
using detail::Multiplexer;
using detail::TimePoint;

using Words = std::vector<std::string>;

/// The commands in bytes that a client sends, which end with a whole one.
inline std::vector<Words> commands_in(std::string_view bytes) {
  const auto number = [&] {
    std::size_t value = 0;
    std::from_chars(bytes.data() + 1, bytes.data() + bytes.size(), value);
    bytes.remove_prefix(bytes.find('\n') + 1);
    return value;
  };
  std::vector<Words> commands;
  while (!bytes.empty()) {
    Words& words = commands.emplace_back();
    for (std::size_t left = number(); left > 0; --left) {
      const std::size_t size = number();
      words.emplace_back(bytes.substr(0, size));
      bytes.remove_prefix(size + 2);
    }
  }
  return commands;
}

/// A request with a call, and its texts.
struct Caller {
  Caller(std::string about, const protocol::Command& what, bool acquires = false)
      : key(std::move(about)), command(what), is_acquisition(acquires) {
    call.end = TimePoint(1h + 1s);
  }

  bool done() const { return call.done(); }
  bool failed() const { return call.failure.has_value(); }
  const protocol::Reply& reply() const { return response.replies.front(); }

  std::string key;
  protocol::OwnedCommand owned{};
  protocol::Command command;
  bool is_acquisition;
  detail::CleanupRelease cleanup{protocol::Command(protocol::release_script, key, "token"), 9s};
  detail::Request request{
      .key = key, .commands = {&command, 1}, .cleanup = is_acquisition ? &cleanup : nullptr};
  detail::Response response{};
  detail::Call call{.request = request, .response = response};
};

/// A multiplexer between a server that the test plays and a clock that it moves.
class MultiplexerTest : public testing::Test, private detail::RenewalFilter {
 protected:
  MultiplexerTest() {
    lease.begin(detail::Validity("token", 0), "job");
    lease.renew_by(protocol::Command(protocol::extend_script, "job", "token", 3s),
                   {.ttl = 3s, .renews = true});
    connect();
    now += 1s;  // the connection is not new any more
  }
  ~MultiplexerTest() override {
    // Calls and requests that a test has left.
    mux.abandon(1);
  }

  void connect(const std::optional<protocol::Abilities>& abilities = {}) {
    mux.connected_by(std::make_unique<detail::RespStream>(), abilities, std::make_shared<char>(),
                     now);
  }
  /// The connection is lost, and another one is there, whose server takes scripts or not.
  void reconnect(const std::optional<protocol::Abilities>& abilities) {
    mux.drop({});
    mux.take_leftovers();
    connect(abilities);
  }
  static protocol::Abilities no_scripts() { return protocol::read_abilities({}); }

  Caller& call(const std::string& key, const protocol::Command& command, bool acquires = false) {
    Caller& caller = callers.emplace_back(key, command, acquires);
    caller.call.end = now + command_timeout;
    mux.queue(caller.call, now);
    return caller;
  }
  Caller& acquire(const std::string& key) {
    return call(
        key,
        protocol::Command(protocol::Expect::ok_or_nil, "SET", keep(key), "token", "NX", "PX", 9s),
        true);
  }
  Caller& release(const std::string& key) {
    return call(key, protocol::Command(protocol::release_script, keep(key), "token"));
  }
  Caller& extend(const std::string& key, std::chrono::milliseconds ttl) {
    return call(key, protocol::Command(protocol::extend_script, keep(key), "token", ttl));
  }
  /// A release that no call waits for.
  void post(const std::string& key) {
    mux.queue(key,
              {protocol::Command(protocol::release_script, key, "token"), 9s,
               detail::CleanupRelease::Reason::lease},
              now);
  }
  void give_up(Caller& caller) { mux.give_up_late(caller.call, now); }

  /// What is written next, all of which is sent.
  std::vector<Words> sent(Multiplexer::Send which = Multiplexer::Send::all) {
    mux.fill(which, now);
    const std::string output(mux.output());
    mux.sent(output.size());
    return commands_in(output);
  }
  /// The first words of that.
  std::vector<std::string> names(Multiplexer::Send which = Multiplexer::Send::all) {
    std::vector<std::string> first;
    for (const Words& words : sent(which)) first.push_back(words.front());
    return first;
  }
  void reply(std::string_view bytes) { mux.received(bytes, now); }

  /// The texts of a command have to outlive it.
  const std::string& keep(const std::string& text) { return texts.emplace_back(text); }

  static constexpr std::chrono::milliseconds command_timeout{1000};
  static constexpr std::string_view no_script = "-NOSCRIPT No matching script.\r\n";
  static constexpr std::string_view not_permitted =
      "-NOPERM this user has no permissions to run the 'evalsha' command\r\n";

  TimePoint now{1h};
  bool wanted = true;  // the renewal
  std::list<std::string> texts{};
  std::list<Caller> callers{};
  detail::Lease lease{};
  detail::Settings settings{.endpoint = {},
                            .options = {.command_timeout = command_timeout},
                            .server = "server",
                            .routes = std::make_shared<detail::Routes>(1),
                            .closings = std::make_shared<detail::Closings>()};
  Multiplexer mux{settings, *this};

 private:
  bool wants(const detail::PendingRenewal& /*renewal*/) noexcept override { return wanted; }
};

}  // namespace redlatch::test
