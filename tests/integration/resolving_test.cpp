// Host names: look-ups that hang or fail, and names with several addresses.

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/io_error.hpp"
#include "child.hpp"
#include "fake_resolver.hpp"
#include "fixture.hpp"
#include "net/resolver.hpp"
#include "net/socket.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace resolving_test {

std::string url_of(std::uint16_t port) {
  return "redis://" + std::string(FakeResolver::name) + ":" + std::to_string(port);
}

TEST(SocketAddress, IsWrittenWithItsPort) {
  const auto written = [](const std::string& host) {
    detail::Resolver resolver({.host = host, .port = 6380});
    return resolver.addresses({}, detail::never_cancelled).front().with_port();
  };
  EXPECT_EQ(written("10.0.0.7"), "10.0.0.7:6380");
  EXPECT_EQ(written("::1"), "[::1]:6380");
  EXPECT_EQ(detail::SocketAddress::of_unix("/run/redis.sock").with_port(), "");
}

class NamedServer : public testing::Test {
 protected:
  void kill_connections() {
    EXPECT_GE(raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).integer, 1);
  }

  FakeResolver resolver{{"127.0.0.1"}};
  RedisServer server{};
  RawClient raw{server.socket()};
  std::string url = url_of(server.port());
};

/// The name has another address after a failover, at which no server listens yet.
TEST_F(NamedServer, IsNamedWithWhatItSaidWhenTheNextOneCannotBeReached) {
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(url, options);
  const Lock lock(client, "job", long_lease);
  // What the server says of itself is believed on a connection that is new.
  const auto connected = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - connected > 200ms; }));
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  FakeResolver::set_addresses({"127.0.0.2"});
  for (int i = 0; i < 2; ++i) {
    const Error error = thrown_by([&] { const Lock other(client, "other", std::try_to_lock); });
    const std::string text = error.what();
    EXPECT_EQ(error.code(), Errc::unreachable) << text;
    EXPECT_NE(text.find("(tried 127.0.0.2); before that, from 127.0.0.1:" +
                        std::to_string(server.port()) + ": the server said \"READONLY "),
              std::string::npos)
        << text;
  }
  FakeResolver::set_addresses({"127.0.0.1"});
  raw.command({"REPLICAOF", "NO", "ONE"});
  const auto acquires = [&] {
    return !error_of([&] { const Lock other(client, "other", std::try_to_lock); });
  };
  EXPECT_TRUE(eventually(acquires));
  server.kill();
  const Error error = thrown_by([&] { const Lock other(client, "last", std::try_to_lock); });
  EXPECT_EQ(std::string(error.what()).find("READONLY"), std::string::npos) << error.what();
}

/// One of four connections is lost while the resolver hangs.
class ResolverHanging : public NamedServer {
 protected:
  ResolverHanging() {
    for (int i = 0; i < 16; ++i) {
      locks.push_back(
          std::make_unique<Lock>(*client, "job:" + std::to_string(i), LockOptions{.ttl = 3s}));
    }
    FakeResolver::hang();
    const std::vector<std::string> connections = raw.clients("held");
    EXPECT_EQ(connections.size(), 4U);
    EXPECT_EQ(raw.command({"CLIENT", "KILL", "ID", connections.front()}).integer, 1);
  }

  bool all_are_owned() {
    for (const auto& lock : locks) {
      if (!lock->owns_lock()) return false;
    }
    return true;
  }

  std::optional<Client> client{std::in_place, url, ClientOptions{.client_name = "held"}};
  std::vector<std::unique_ptr<Lock>> locks{};
};

TEST_F(ResolverHanging, CostsNoLockOfAHealthyServer) {
  const auto before = raw.calls("pexpire");
  const bool renewed = eventually([&] { return raw.calls("pexpire") >= before + 5 * 16; }, 14s);
  EXPECT_TRUE(renewed) << raw.calls("pexpire") - before;
  EXPECT_TRUE(all_are_owned());
  EXPECT_EQ(raw.clients("held").size(), 4U);
  EXPECT_EQ(FakeResolver::hanging(), 1);
}

TEST_F(ResolverHanging, IsNotWaitedForAtTheEndOfAClient) {
  EXPECT_TRUE(eventually([] { return FakeResolver::hanging() == 1; }));
  const auto took = duration_of([&] {
    locks.clear();
    client.reset();
  });
  EXPECT_LT(took, 5s);
  EXPECT_EQ(FakeResolver::hanging(), 1);
}

TEST_F(ResolverHanging, DoesNotDelayTheNoticeOfALoss) {
  EXPECT_TRUE(eventually([] { return FakeResolver::hanging() == 1; }));
  const std::stop_token lost = locks[7]->lost_token();
  raw.command({"DEL", "job:7"});
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }, 8s));
  EXPECT_EQ(FakeResolver::hanging(), 1);
}

/// The longest time from one renewal of a lock to its next one.
class LongestPause {
 public:
  void operator()(const Event& event) {
    if (event.kind != EventKind::acquired && event.kind != EventKind::renewed) return;
    const std::scoped_lock lock(mutex_);
    const bool is_first = event.kind == EventKind::acquired;
    const auto since = is_first ? std::chrono::microseconds(0) : event.elapsed;
    longest_ = std::max(longest_, since - std::exchange(last_[event.key], since));
    ++renewals_[event.key];
  }
  bool has(std::size_t locks, int renewals) {
    const std::scoped_lock lock(mutex_);
    return renewals_.size() == locks &&
           std::ranges::all_of(renewals_, [&](const auto& one) { return one.second > renewals; });
  }
  std::chrono::microseconds get() {
    const std::scoped_lock lock(mutex_);
    return longest_;
  }

 private:
  std::mutex mutex_{};
  std::map<std::string, std::chrono::microseconds> last_{};  // since the acquisition
  std::map<std::string, int> renewals_{};
  std::chrono::microseconds longest_{0};
};

class ResolverDuringRenewals : public NamedServer {
 protected:
  /// Of 16 locks on four connections, one of which is lost while the resolver works or hangs.
  std::chrono::microseconds longest_pause(bool hangs) {
    constexpr std::size_t count = 16;
    LongestPause pause;
    Client client(url, {.client_name = "held", .on_event = std::ref(pause)});
    std::vector<std::unique_ptr<Lock>> locks;
    for (std::size_t i = 0; i < count; ++i) {
      locks.push_back(
          std::make_unique<Lock>(client, "job:" + std::to_string(i), LockOptions{.ttl = 3s}));
    }
    if (hangs) FakeResolver::hang();
    raw.command({"CLIENT", "KILL", "ID", raw.clients("held").front()});
    EXPECT_TRUE(eventually([&] { return pause.has(count, 3); }, 12s));
    EXPECT_EQ(FakeResolver::hanging(), hangs ? 1 : 0);
    EXPECT_EQ(client.metrics().lost, 0U);
    FakeResolver::answer();
    return pause.get();
  }
};

/// A lock with a ttl of 3 s is renewed 0.9 to 1.0 s after it was. The first to connect while the
/// resolver hangs waits for it, for half a second at most, before it takes the known addresses.
TEST_F(ResolverDuringRenewals, DelaysOneForHalfASecondAtMostWhileItHangs) {
  const auto working = longest_pause(false);
  const auto hanging = longest_pause(true);
  std::cout << "longest time between two renewals, resolver working: " << working.count()
            << " us, hanging: " << hanging.count() << " us\n";
  EXPECT_LT(hanging, 2s);
}

using ResolverLookUp = NamedServer;

TEST_F(ResolverLookUp, IsPartOfConnectTimeout) {
  FakeResolver::hang();
  std::optional<Client> client(std::in_place, url, ClientOptions{.connect_timeout = 300ms});
  std::optional<Error> error;
  const auto took = duration_of([&] { error = thrown_by([&] { client->ping(); }); });
  EXPECT_EQ(error->code(), Errc::unreachable);
  EXPECT_NE(std::string(error->what()).find("looked up"), std::string::npos) << error->what();
  EXPECT_GE(took, 300ms);
  EXPECT_LT(took, 10s);
  EXPECT_LT(duration_of([&] { client.reset(); }), 5s);
  EXPECT_EQ(FakeResolver::hanging(), 1);
}

TEST_F(ResolverLookUp, IsDoneOnceForAllWhoConnect) {
  const int before = FakeResolver::asked();
  FakeResolver::hang();
  Client client(url, patient());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, key = "job:" + std::to_string(i)] {
      EXPECT_TRUE(Lock(client, key, std::try_to_lock));
    });
  }
  EXPECT_TRUE(eventually([] { return FakeResolver::hanging() > 0; }));
  EXPECT_EQ(FakeResolver::asked() - before, 1);
  FakeResolver::answer();
  threads.clear();
}

TEST_F(ResolverLookUp, IsNotNeededToConnectAgainWhileItHangs) {
  Client client(url, patient());
  client.ping();
  FakeResolver::hang();
  for (int i = 0; i < 5; ++i) {
    kill_connections();
    client.ping();
  }
  EXPECT_EQ(FakeResolver::hanging(), 1);
}

TEST_F(ResolverLookUp, IsNotNeededToConnectAgainWhileItFails) {
  Client client(url, patient());
  client.ping();
  for (const int error : {EAI_AGAIN, EAI_FAIL, EAI_SYSTEM, EAI_MEMORY}) {
    FakeResolver::fail_with(error);
    kill_connections();
    EXPECT_NO_THROW(client.ping()) << error;
  }
}

TEST_F(ResolverLookUp, FailsWhenTheNameHasNoAddressAnyMore) {
  Client client(url, patient());
  client.ping();
  FakeResolver::fail_with(EAI_NONAME);
  kill_connections();
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(std::string(error.what())
                .find("the host name \"" + std::string(FakeResolver::name) +
                      "\" has no address: Name or service not known; check that name, and "
                      "the resolver of this machine"),
            std::string::npos)
      << error.what();
  FakeResolver::fail_with(0);
  client.ping();
}

TEST_F(ResolverLookUp, FindsAServerThatHasMoved) {
  RedisServer other({"--bind", "127.0.0.2", "--port", std::to_string(server.port())});
  Client client(url, patient());
  ASSERT_TRUE(Lock(client, "job", std::try_to_lock));
  resolver.set_addresses({"127.0.0.2"});
  server.kill();
  const Lock lock(client, "job", std::try_to_lock);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(RawClient(other.socket()).get("job"), lock.token());
}

TEST_F(ResolverLookUp, OfAForkedChildIsBoundedWhateverItsParentWasDoing) {
  Client known(url, patient());
  known.ping();
  FakeResolver::hang();
  std::jthread asking([&] {
    Client other(url, patient());
    other.ping();
  });
  ASSERT_TRUE(eventually([] { return FakeResolver::hanging() == 1; }));
  EXPECT_EQ(in_child([&] {
              Client numeric(server.url(), patient());
              numeric.ping();
              return 0;
            }),
            0);
  EXPECT_EQ(in_child([&] {
              known.ping();
              return 0;
            }),
            0);
  EXPECT_EQ(in_child([&] {
              Client fresh(url, {.connect_timeout = 300ms});
              return error_of([&] { fresh.ping(); }) == Errc::unreachable ? 0 : 1;
            }),
            0);
  FakeResolver::answer();
}

TEST_F(ResolverLookUp, MayGoOnWhileTheProcessEnds) {
  FakeResolver::hang();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(in_child([&] {
                Client client(url, {.connect_timeout = 10ms});
                if (error_of([&] { client.ping(); }) != Errc::unreachable) return 1;
                FakeResolver::answer();
                std::exit(7);
              }),
              7);
  }
}

/// Who has waited for one look-up may come to its answer when a later one has found nothing.
TEST_F(ResolverLookUp, FindsAnAddressOrFailsWhileTheNameComesAndGoes) {
  detail::Resolver shared({.host = FakeResolver::name, .port = 1});
  std::atomic<int> found = 0;
  std::atomic<int> failed = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 1000; ++call) {
        try {
          const auto end = detail::BootClock::now() + 60s;
          EXPECT_FALSE(shared.addresses(end, detail::never_cancelled).empty());
          ++found;
        } catch (const detail::IoError&) {
          ++failed;
        }
      }
    });
  }
  while (found + failed < 16 * 1000) {
    FakeResolver::fail_with(found < failed ? 0 : EAI_NONAME);
    std::this_thread::yield();
  }
  threads.clear();
  EXPECT_GT(found, 0);
  EXPECT_GT(failed, 0);
}

/// A listener on 127.0.0.2 that no program serves.
class DeafListener {
 public:
  DeafListener(std::uint16_t port, int backlog)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    address_.sin_addr.s_addr = ::inet_addr("127.0.0.2");
    if (::bind(fd_, get(), sizeof address_) != 0 || ::listen(fd_, backlog) != 0) {
      throw std::system_error(errno, std::generic_category(), "listener");
    }
  }
  DeafListener(const DeafListener&) = delete;
  DeafListener& operator=(const DeafListener&) = delete;
  ~DeafListener() {
    for (const int fd : fillers_) ::close(fd);
    ::close(fd_);
  }

  /// From now on attempts to connect get no answer at all.
  void fill() {
    for (int i = 0; i < 3; ++i) {
      fillers_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      static_cast<void>(::connect(fillers_.back(), get(), sizeof address_));
    }
  }
  /// How many connections were made since it was last asked.
  int connections() const {
    int count = 0;
    for (int fd = 0; (fd = ::accept(fd_, nullptr, nullptr)) >= 0; ++count) ::close(fd);
    return count;
  }

 private:
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }

  int fd_;
  sockaddr_in address_{};
  std::vector<int> fillers_{};
};

class ResolverSeveralAddresses : public NamedServer {
 protected:
  ResolverSeveralAddresses() { resolver.set_addresses({"127.0.0.2", "127.0.0.1"}); }
};

TEST_F(ResolverSeveralAddresses, AreTriedWhenTheFirstAcceptsAndIsSilent) {
  const DeafListener silent(server.port(), 64);
  Client client(url, {.connect_timeout = 4s, .command_timeout = 20s});
  client.ping();
  EXPECT_EQ(silent.connections(), 1);
  for (int i = 0; i < 5; ++i) {
    kill_connections();
    client.ping();
  }
  EXPECT_EQ(silent.connections(), 0) << "the last good address comes first";
}

TEST_F(ResolverSeveralAddresses, CostLittleWhenTheFirstDropsWhatItGets) {
  DeafListener full(server.port(), 0);
  full.fill();
  Client client(url, {.connect_timeout = 10s, .command_timeout = 20s});
  const auto took = duration_of([&] {
    client.ping();
    for (int i = 0; i < 5; ++i) {
      kill_connections();
      client.ping();
    }
  });
  EXPECT_LT(took, 4s);
}

TEST_F(ResolverSeveralAddresses, AreTriedWhenTheFirstRefuses) {
  Client client(url, patient());
  EXPECT_LT(duration_of([&] { client.ping(); }), 5s);
}

TEST_F(ResolverSeveralAddresses, AreTriedWhenTheFirstHangsUpAtTheGreeting) {
  ScriptedServer* self = nullptr;
  ScriptedServer rude([&](const ScriptedRequest&) {
    self->close_after_answer();
    return std::string();
  });
  self = &rude;
  const std::string port = rude.url().substr(rude.url().rfind(':') + 1);
  const RedisServer good({"--bind", "127.0.0.2", "--port", port});
  resolver.set_addresses({"127.0.0.1", "127.0.0.2"});
  Client client("redis://" + std::string(FakeResolver::name) + ":" + port, patient());
  EXPECT_LT(duration_of([&] { client.ping(); }), 5s);
}

TEST_F(ResolverSeveralAddresses, AreNotTriedWhenTheFirstSaysWhatIsWrong) {
  const ScriptedServer first(
      [](const ScriptedRequest&) { return resp::error("WRONGPASS invalid username-password"); });
  const std::string port = first.url().substr(first.url().rfind(':') + 1);
  const DeafListener second(static_cast<std::uint16_t>(std::stoi(port)), 64);
  resolver.set_addresses({"127.0.0.1", "127.0.0.2"});
  Client client("redis://:pass@" + std::string(FakeResolver::name) + ":" + port, patient());
  EXPECT_EQ(error_of([&] { client.ping(); }), Errc::authentication_failed);
  EXPECT_EQ(second.connections(), 0);
}

/// As after a failover, when the name has both the old primary and the new one.
TEST_F(ResolverSeveralAddresses, AreTriedWhenTheLastGoodOneHasBecomeAReplica) {
  const RedisServer other({"--bind", "127.0.0.2", "--port", std::to_string(server.port())});
  resolver.set_addresses({"127.0.0.1", "127.0.0.2"});
  Client client(url, patient());
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(raw.get("job"), lock.token());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
  EXPECT_EQ(RawClient(other.socket()).get("job"), lock.token());
}

TEST_F(ResolverSeveralAddresses, AreNamedWhenNoneAnswers) {
  server.kill();
  Client client(url, {.connect_timeout = 500ms});
  const Error refused = thrown_by([&] { client.ping(); });
  EXPECT_EQ(refused.code(), Errc::unreachable);
  EXPECT_NE(std::string(refused.what()).find("tried 2 addresses, the last was 127.0.0.1"),
            std::string::npos)
      << refused.what();
  resolver.set_addresses({"127.0.0.2"});
  const DeafListener silent(server.port(), 64);
  const Error late = thrown_by([&] { client.ping(); });
  EXPECT_EQ(late.code(), Errc::unreachable);
  EXPECT_NE(std::string(late.what()).find("is the server stopped or overloaded? (tried 127.0.0.2)"),
            std::string::npos)
      << late.what();
}

class ResolverOrderOfAddresses : public testing::Test {
 protected:
  std::vector<std::string> addresses() {
    std::vector<std::string> texts;
    for (const auto& one : found.addresses(detail::BootClock::now() + 20s, -1)) {
      texts.push_back(one.text());
    }
    return texts;
  }
  detail::SocketAddress address(const std::string& text) {
    return detail::Resolver({.host = text, .port = 1}).addresses({}, -1).front();
  }
  using Texts = std::vector<std::string>;

  FakeResolver resolver{{"127.0.0.1", "127.0.0.2", "127.0.0.3"}};
  detail::Resolver found{{.host = FakeResolver::name, .port = 1}};
};

TEST_F(ResolverOrderOfAddresses, IsTheSystemsAtFirst) {
  EXPECT_EQ(addresses(), (Texts{"127.0.0.1", "127.0.0.2", "127.0.0.3"}));
}

TEST_F(ResolverOrderOfAddresses, BeginsWithTheOneThatAnsweredLast) {
  addresses();
  found.prefer(address("127.0.0.3"));
  EXPECT_EQ(addresses(), (Texts{"127.0.0.3", "127.0.0.1", "127.0.0.2"}));
  found.prefer(address("127.0.0.2"));
  EXPECT_EQ(addresses(), (Texts{"127.0.0.2", "127.0.0.1", "127.0.0.3"}));
}

TEST_F(ResolverOrderOfAddresses, EndsWithThoseThatAreOfNoUse) {
  addresses();
  found.prefer(address("127.0.0.1"));
  found.avoid(address("127.0.0.1"));
  EXPECT_EQ(addresses(), (Texts{"127.0.0.2", "127.0.0.3", "127.0.0.1"}));
  found.prefer(address("127.0.0.1"));
  EXPECT_EQ(addresses(), (Texts{"127.0.0.1", "127.0.0.2", "127.0.0.3"}));
}

TEST_F(ResolverOrderOfAddresses, GivesEachItsTurnWhenAllAreOfNoUse) {
  for (int round = 0; round < 2; ++round) {
    for (const std::string one : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
      ASSERT_EQ(addresses().front(), one);
      found.prefer(address(one));
      found.avoid(address(one));
    }
  }
}

TEST_F(ResolverOrderOfAddresses, HasOnlyThoseThatTheNameHasNow) {
  addresses();
  found.prefer(address("127.0.0.2"));
  resolver.set_addresses({"127.0.0.1", "127.0.0.4"});
  EXPECT_EQ(addresses(), (Texts{"127.0.0.1", "127.0.0.4"}));
}

TEST_F(ResolverOrderOfAddresses, StaysWhileTheSystemDoesNotAnswer) {
  addresses();
  found.prefer(address("127.0.0.2"));
  FakeResolver::hang();
  const auto late = found.addresses(detail::BootClock::now() + 200ms, -1);
  ASSERT_EQ(late.size(), 3U);
  EXPECT_EQ(late.front(), address("127.0.0.2"));
  resolver.set_addresses({"127.0.0.9"});
  FakeResolver::answer();
  EXPECT_EQ(addresses(), (Texts{"127.0.0.9"}));
}

}  // namespace resolving_test
}  // namespace redlatch::test
