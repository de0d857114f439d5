// A connection that is shared, and the order of what is said on it. With the library's insides, so
// that one thread can queue several requests.

#include "engine/shared_connection.hpp"

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <redlatch/detail/lease.hpp>
#include <redlatch/protocol/exclusive.hpp>

#include "base/settings.hpp"
#include "fixture.hpp"
#include "net/resolver.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace shared_connection_test {

using detail::TimePoint;

const std::string unknown_script = resp::error("NOSCRIPT No matching script. Please use EVAL.");

/// Remembers nothing.
class NoSink final : public detail::CompletionSink {
 public:
  void repeat_later(detail::PendingRequests) noexcept override {}
  void adopt(detail::Pipeline, std::unique_ptr<detail::Transport>) noexcept override {}
  void ended(const detail::PendingRelease&, detail::ReleaseOutcome) noexcept override {}
  bool wants(const detail::PendingRenewal&) noexcept override { return true; }
  void superseded(const detail::PendingRenewal&) noexcept override {}
  void renewed(const detail::PendingRenewal&, const protocol::Reply&, TimePoint) noexcept override {
    ++renewals;
  }
  void renewal_failed(const detail::PendingRenewal&, TimePoint,
                      const detail::Failure&) noexcept override {}
  void server_changed() noexcept override {}
  void record_event(const detail::EventRecord&) noexcept override {}
  void expect_answers() noexcept override {}

  int renewals = 0;
};

/// One request whose thread does not wait in the call.
struct Asked {
  Asked(detail::SharedConnection& connection, detail::PollNotifier& bell, const std::string& about,
        const protocol::Command& what)
      : key(about), command(what) {
    caller.poll_notifier = &bell;
    connection.begin(caller);
  }
  std::string key;
  protocol::Command command;
  detail::Request request{.key = key, .commands = {&command, 1}};
  detail::Response response{};
  detail::Call caller{.request = request, .response = response};
};

/// The server forgets its scripts before the first of the requests and once more behind it.
class SharedConnectionToAForgetfulServer : public testing::Test {
 protected:
  SharedConnectionToAForgetfulServer() {
    connection.repeat({}, detail::BootClock::now() + 20s, -1);
    lease.begin(detail::Validity("token", 0), "job");
    lease.renew_by(protocol::Command(protocol::extend_script, "job", "token", 3s),
                   {.ttl = 3s, .renews = true});
  }

  std::string answer(const ScriptedRequest& request) {
    if (request.is("PING")) return {};
    if (request.is("EVALSHA") && request.words[1] == forgotten_twice) return unknown_script;
    if (request.is("EVALSHA") && refusals-- > 0) return unknown_script;
    if (request.words.size() == 6) lives[request.words[3]] = request.words[5];
    return request.is("EVAL") || request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  }
  void ask(const std::string& key, const protocol::Command& command) {
    asked.emplace_back(connection, bell, key, command);
  }
  bool all_done() {
    return eventually([&] {
      connection.look();
      for (const Asked& one : asked) {
        if (!one.caller.done()) return false;
      }
      return sink.renewals == 1;
    });
  }

  const std::string forgotten_twice{protocol::extend_script.sha1()};
  int refusals = 0;
  std::map<std::string, std::string> lives{};
  ScriptedServer server{[this](const ScriptedRequest& request) { return answer(request); }};
  detail::Settings settings{
      .endpoint = detail::parse_url(server.url()),
      .options = patient(),
      .server = server.url(),
      .topology = std::make_shared<detail::Resolver>(detail::parse_url(server.url())),
      .routes = std::make_shared<detail::Routes>(1),
      .closings = std::make_shared<detail::Closings>()};
  NoSink sink{};
  detail::SharedConnection connection{settings, sink};
  detail::PollNotifier bell{};
  detail::Lease lease{};
  std::list<Asked> asked{};
};

/// Behind the text of the script for another lock, a renewal is said again by its hash, and refused
/// once more. A script of another kind is between it and an extension of its lease.
TEST_F(SharedConnectionToAForgetfulServer, GetsARenewalThatItRefusesTwiceBeforeALongerExtension) {
  refusals = 1;
  ask("held back", protocol::Command(protocol::Expect::anything, "PING"));
  ask("a", protocol::Command(protocol::extend_script, "a", "token", 3s));
  ASSERT_TRUE(connection.renew(lease));
  ask("page", protocol::Command(protocol::release_script, "page", "token"));
  ask("job", protocol::Command(protocol::extend_script, "job", "token", 60s));
  server.say(1, resp::ok);
  ASSERT_TRUE(all_done());
  EXPECT_EQ(lives["job"], "60000");
  for (Asked& one : asked) connection.conclude(one.caller);
}

/// Says that the server was replaced when it is next attended to.
class ChangingTopology final : public detail::Topology {
 public:
  explicit ChangingTopology(const std::string& url) : resolver_(detail::parse_url(url)) {}
  void change() { changes_ = true; }

  detail::Destination locate(TimePoint deadline, int cancel) override {
    detail::Destination destination = resolver_.locate(deadline, cancel);
    destination.version = version();
    return destination;
  }
  void prefer(const detail::SocketAddress& address) noexcept override { resolver_.prefer(address); }
  void avoid(const detail::SocketAddress& address) noexcept override { resolver_.avoid(address); }
  void attend() noexcept override {
    if (changes_.exchange(false)) note_change();
  }
  void before_fork() override {}
  void after_fork_in_parent() override {}
  void after_fork_in_child() noexcept override {}

 private:
  detail::Resolver resolver_;
  std::atomic<bool> changes_ = false;
};

/// A release that is sent first behind a pause counts as a use of the connection, behind which the
/// Sentinels would not be heard before a lock is granted.
TEST(SharedConnectionBehindAPause, SendsNoReleaseToAFormerPrimary) {
  ScriptedServer server([](const ScriptedRequest& request) {
    return request.is("PING") ? resp::status("PONG") : resp::ok;
  });
  const auto topology = std::make_shared<ChangingTopology>(server.url());
  detail::Settings settings{.endpoint = detail::parse_url(server.url()),
                            .options = patient(),
                            .server = server.url(),
                            .topology = topology,
                            .routes = std::make_shared<detail::Routes>(1),
                            .closings = std::make_shared<detail::Closings>()};
  NoSink sink;
  detail::SharedConnection connection(settings, sink);
  connection.repeat({}, detail::BootClock::now() + 20s, -1);
  const auto connected = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - connected > 20ms; }));
  topology->change();
  const protocol::Command release(protocol::Expect::anything, "DEL", "job");
  static_cast<void>(connection.post("job", {.command = release, .ttl = 3s}));
  EXPECT_EQ(topology->version(), 1U);
  EXPECT_EQ(server.count("DEL"), 0U);
}

}  // namespace shared_connection_test
}  // namespace redlatch::test
