// Locks on a primary that Sentinels name.

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "child.hpp"
#include "diary.hpp"
#include "fixture.hpp"
#include "scripted_sentinel.hpp"
#include "sentinel_trio.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace sentinel_client_test {

/// Long enough for a failover on a busy machine.
const LockOptions long_enough{.ttl = 2min};

ClientOptions options_for(const SentinelTrio& trio) {
  ClientOptions options;
  if (trio.options().tls) options.tls.ca_file = own_certificates().issuer;
  options.sentinel.user = trio.options().sentinels.user;
  options.sentinel.password = trio.options().sentinels.password;
  return options;
}

/// How a primary is lost.
enum class Loss { killed, stopped, ordered };

void PrintTo(Loss loss, std::ostream* out) {
  *out << (loss == Loss::killed ? "Killed" : loss == Loss::stopped ? "Stopped" : "Ordered");
}

/// Returns the number of the new primary.
std::size_t fail_over(SentinelTrio& trio, Loss how) {
  const std::size_t old = trio.primary().value();
  if (how == Loss::killed) trio.server(old).kill();
  if (how == Loss::stopped) trio.server(old).pause();
  const auto now = how == Loss::ordered ? trio.fail_over_from(old) : trio.switched_from(old);
  if (!now) throw std::runtime_error("there was no failover:\n" + trio.logs());
  return *now;
}

bool in_step(SentinelTrio& trio) {
  return trio.at_server(trio.primary().value()).command({"WAIT", "2", "20000"}).integer == 2;
}

std::string text_of(const Error& error) { return error.what(); }

// How it finds the primary

struct SetUp {
  std::string name;
  TrioOptions trio;
};

void PrintTo(const SetUp& set_up, std::ostream* out) { *out << set_up.name; }

class ClientSentinelSetUp : public testing::TestWithParam<SetUp> {};

TEST_P(ClientSentinelSetUp, CarriesALifeOfALockAcrossAFailover) {
  SentinelTrio trio(GetParam().trio);
  Client client(trio.url(), options_for(trio));
  RawClient raw = trio.at_server(0);
  live_one_life(client, raw, long_lease);
  Lock lock(client, "other", long_enough);
  ASSERT_TRUE(in_step(trio));
  RawClient next = trio.at_server(fail_over(trio, Loss::ordered));
  EXPECT_TRUE(eventually([&] { return lock.verify(); }));
  EXPECT_EQ(next.get("other"), lock.token());
  live_one_life(client, next, long_lease);
}

TrioOptions with_passwords() {
  return {.servers = {"locks", "s3cr3t-of-servers"}, .sentinels = {"asks", "s3cr3t-of-sentinels"}};
}

INSTANTIATE_TEST_SUITE_P(
    , ClientSentinelSetUp,
    testing::Values(SetUp{"Plain", {}}, SetUp{"Passwords", with_passwords()},
                    SetUp{"DefaultUsers",
                          {.servers = {"", "one-password"}, .sentinels = {"", "another"}}},
                    SetUp{"Tls", {.tls = true}}, SetUp{"HostNames", {.host = "localhost"}},
                    SetUp{"TlsWithHostNames", {.tls = true, .host = "localhost"}}),
    [](const auto& one) { return one.param.name; });

class ClientSentinel : public testing::Test {
 protected:
  Client client() const { return Client(trio.url(), options); }
  Error refusal(const std::string& url) const {
    Client refused(url, options);
    return thrown_by([&] { refused.ping(); });
  }

  SentinelTrio trio{};
  ClientOptions options{};
};

TEST_F(ClientSentinel, NeedsOneSentinelThatAnswers) {
  trio.sentinel(0).kill();
  trio.sentinel(1).pause();
  Client one = client();
  const Lock lock(one, "job", long_enough);
  EXPECT_EQ(trio.at_server(0).get("job"), lock.token());
}

TEST_F(ClientSentinel, LearnsTheOtherSentinels) {
  Client one("redis-sentinel://127.0.0.1:" + std::to_string(trio.sentinel(0).port()) + "#orders");
  one.ping();
  trio.sentinel(0).kill();
  const std::size_t next = fail_over(trio, Loss::killed);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { one.ping(); }); }));
  const Lock lock(one, "job", long_enough);
  EXPECT_EQ(trio.at_server(next).get("job"), lock.token());
}

TEST_F(ClientSentinel, GoesOnWithoutAnySentinel) {
  Client one = client();
  one.ping();
  for (std::size_t i = 0; i < SentinelTrio::size; ++i) trio.sentinel(i).kill();
  trio.at_server(0).command({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_TRUE(eventually([&] { return !error_of([&] { one.ping(); }); }));
  EXPECT_EQ(error_of([&] { client().ping(); }), Errc::unreachable);
}

TEST_F(ClientSentinel, NamesTheServicesThatThereAre) {
  std::string url = trio.url();
  url.replace(url.find('#'), std::string::npos, "#oders");
  const Error error = refusal(url);
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_FALSE(error.transient());
  EXPECT_NE(text_of(error).find("the service oders; it knows: orders"), std::string::npos)
      << error.what();
  EXPECT_EQ(error.server(), url.insert(url.find('#'), "/0"));
}

TEST_F(ClientSentinel, SaysThatAServerIsNoSentinel) {
  const Error error =
      refusal("redis-sentinel://127.0.0.1:" + std::to_string(trio.port(0)) + "#orders");
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_NE(text_of(error).find("is this a Sentinel"), std::string::npos) << error.what();
}

/// A Sentinel answers PING, so that a client finds out by its first lock.
TEST(ClientSentinelBehindAPlainUrl, IsProposedByItsUrl) {
  SentinelServer sentinel(false);
  sentinel.configure({});
  sentinel.start();
  const std::string url = "redis://127.0.0.1:" + std::to_string(sentinel.port());
  Client client(url);
  Client another(url + "/3");
  const Error errors[] = {thrown_by([&] { const Lock lock(client, "job"); }),
                          thrown_by([&] { const FairLock lock(client, "job"); }),
                          thrown_by([&] { another.ping(); })};
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), Errc::unsupported);
    EXPECT_NE(text_of(error).find("if it is a Sentinel, use redis-sentinel://host:port#service"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(ClientSentinel, NamesEachSentinelThatCannotBeReached) {
  const std::string one = "127.0.0.1:" + std::to_string(free_port());
  const std::string other = "127.0.0.1:" + std::to_string(free_port());
  const Error error = refusal("redis-sentinel://" + one + "," + other + "#orders");
  EXPECT_EQ(error.code(), Errc::unreachable);
  for (const std::string& sentinel : {one, other}) {
    EXPECT_NE(text_of(error).find("Sentinel " + sentinel + ": cannot connect"), std::string::npos)
        << error.what();
  }
}

/// Sentinels that are stopped, and those that wait for the rest of a command where TLS is spoken.
TEST_F(ClientSentinel, NamesEachSentinelThatIsSilentAndWhatItWasAt) {
  options.connect_timeout = 500ms;
  const auto named = [&](const Error& error, const std::string& end) {
    EXPECT_EQ(error.code(), Errc::unreachable);
    for (std::size_t i = 0; i < SentinelTrio::size; ++i) {
      const std::string address = "127.0.0.1:" + std::to_string(trio.sentinel(i).port());
      EXPECT_NE(text_of(error).find("Sentinel " + address + ": " + end), std::string::npos)
          << error.what();
    }
  };
  std::string with_tls = trio.url();
  with_tls.replace(0, with_tls.find("://"), "rediss-sentinel");
  named(refusal(with_tls),
        "connected, but the TLS handshake did not finish within connect_timeout; does this port "
        "speak TLS?");
  for (std::size_t i = 0; i < SentinelTrio::size; ++i) trio.sentinel(i).pause();
  named(refusal(trio.url()), "connected, but no answer within connect_timeout");
}

TEST_F(ClientSentinel, NamesTheSilentSentinelBesideTheOneThatRefuses) {
  options.connect_timeout = 500ms;
  trio.sentinel(0).pause();
  const std::string silent = "127.0.0.1:" + std::to_string(trio.sentinel(0).port());
  const std::string refusing = "127.0.0.1:" + std::to_string(free_port());
  const Error error = refusal("redis-sentinel://" + silent + "," + refusing + "#orders");
  EXPECT_EQ(error.code(), Errc::unreachable);
  for (const std::string& text : {"Sentinel " + silent + ": connected, but no answer",
                                  "Sentinel " + refusing + ": cannot connect"}) {
    EXPECT_NE(text_of(error).find(text), std::string::npos) << error.what();
  }
}

/// The function has no deadline, and the thread in it is left to itself.
TEST_F(ClientSentinel, NamesTheSentinelWhoseAddressesAreNotTranslatedInTime) {
  options.connect_timeout = 500ms;
  std::promise<void> go_on;
  options.map_address = [going = go_on.get_future().share()](const Address& address) {
    going.wait();
    return address;
  };
  const std::string address = "127.0.0.1:" + std::to_string(trio.sentinel(0).port());
  const Error error = refusal("redis-sentinel://" + address + "#orders");
  go_on.set_value();
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(text_of(error).find("Sentinel " + address + ": no answer within connect_timeout"),
            std::string::npos)
      << error.what();
}

TEST_F(ClientSentinel, NamesThePrimaryThatCannotBeReached) {
  const std::string primary = "127.0.0.1:" + std::to_string(trio.port(0));
  trio.server(0).kill();
  const Error error = refusal(trio.url());
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(text_of(error).find("the primary of orders is " + primary), std::string::npos)
      << error.what();
}

TEST_F(ClientSentinel, TranslatesAddresses) {
  const auto translated = std::make_shared<std::atomic<int>>(0);
  options.map_address = [translated](const Address& address) -> Address {
    ++*translated;
    EXPECT_EQ(address.host, "127.0.0.1");
    return {"localhost", address.port};
  };
  Client one = client();
  const Lock lock(one, "job", long_enough);
  EXPECT_GE(*translated, 2);
  EXPECT_EQ(trio.at_server(0).get("job"), lock.token());
}

TEST_F(ClientSentinel, SaysWhatTheTranslationOfAddressesHasThrown) {
  options.map_address = [](const Address&) -> Address { throw std::runtime_error("no map"); };
  const Error thrown = refusal(trio.url());
  EXPECT_EQ(thrown.code(), Errc::unreachable);
  EXPECT_NE(text_of(thrown).find("map_address has thrown: no map"), std::string::npos)
      << thrown.what();
  options.map_address = [](const Address&) { return Address{}; };
  EXPECT_NE(text_of(refusal(trio.url())).find("has given no host or no port"), std::string::npos);
}

TEST_F(ClientSentinel, IsOfAForkedChildToo) {
  Client one = client();
  const Lock lock(one, "job", long_enough);
  EXPECT_EQ(in_child([&] {
              const Lock own(one, "other", long_enough);
              return own.owns_lock() && !Lock(one, "job", std::try_to_lock) ? 0 : 1;
            }),
            0);
  EXPECT_EQ(trio.at_server(0).get("job"), lock.token());
}

/// One Sentinel has not answered when the client ends.
TEST_F(ClientSentinel, LeavesNoThreadAtItsEnd) {
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  options.connect_timeout = 1min;
  trio.sentinel(0).pause();
  std::thread([] {}).join();  // the first thread of all brings one of the thread sanitizer's
  const auto before = threads();
  { client().ping(); }
  EXPECT_TRUE(eventually([&] { return threads() <= before; }));
}

/// The client ends while a Sentinel's answer is translated, and by that, too. Translations may go
/// on when the client is gone, so they own what they use.
TEST_F(ClientSentinel, MayEndInATranslationOfAddresses) {
  struct State {
    std::atomic<int> translated = 0;
    std::atomic<bool> ends = false;
    std::atomic<bool> has_ended = false;
    std::optional<Client> client{};
  };
  const auto state = std::make_shared<State>();
  options.map_address = [state](const Address& address) -> Address {
    if (state->ends.exchange(false)) {
      state->client.reset();
      state->has_ended = true;
    }
    ++state->translated;
    return address;
  };
  state->client.emplace(trio.url(), options);
  state->client->ping();
  const int before = state->translated;
  state->ends = true;
  trio.at_server(0).command({"CLIENT", "KILL", "TYPE", "normal"});
  fail_over(trio, Loss::ordered);
  EXPECT_TRUE(eventually([&] { return state->translated > before && state->has_ended; }));
}

TEST_F(ClientSentinel, IsRefusedToAQuorum) {
  const Error error = thrown_by([&] { Quorum({trio.url(), trio.url() + "2", trio.url() + "3"}); });
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_NE(text_of(error).find("a failover may forget"), std::string::npos) << error.what();
}

TEST(ClientSentinelPassword, ThatIsWrongIsNotShown) {
  SentinelTrio trio(with_passwords());
  for (const bool at_sentinels : {true, false}) {
    ClientOptions options = options_for(trio);
    std::string url = trio.url();
    if (at_sentinels) {
      options.sentinel.password = "wr0ng";
    } else {
      url.replace(url.find("s3cr3t-of-servers"), 17, "wr0ng");
    }
    Client client(url, options);
    const Error error = thrown_by([&] { client.ping(); });
    EXPECT_EQ(error.code(), Errc::authentication_failed);
    EXPECT_EQ(text_of(error).find("Sentinel 127.0.0.1:") != std::string::npos, at_sentinels)
        << error.what();
    EXPECT_EQ(text_of(error).find("wr0ng"), std::string::npos);
    EXPECT_EQ(text_of(error).find("s3cr3t"), std::string::npos);
  }
  Client client(trio.url());
  EXPECT_EQ(error_of([&] { client.ping(); }), Errc::authentication_failed);
}

/// User and password of the URL are for the servers, so what is said of those is of no help here.
TEST(ClientSentinelPassword, IsNamedByItsOptionWhereItIsMissingOrWrong) {
  SentinelTrio trio(with_passwords());
  const auto complaint = [&](const ClientOptions& options) {
    Client client(trio.url(), options);
    const Error error = thrown_by([&] { client.ping(); });
    EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
    EXPECT_EQ(text_of(error).find("in the URL"), std::string::npos) << error.what();
    EXPECT_EQ(text_of(error).find("::credentials"), std::string::npos) << error.what();
    return text_of(error);
  };
  const std::string missing = complaint({});
  EXPECT_NE(missing.find("\"; give ClientOptions::sentinel.password, as user and password of the "
                         "URL are for the servers"),
            std::string::npos)
      << missing;
  ClientOptions wrong = options_for(trio);
  wrong.sentinel.password = "wr0ng";
  const std::string text = complaint(wrong);
  EXPECT_NE(text.find("\"; check ClientOptions::sentinel.user and sentinel.password"),
            std::string::npos)
      << text;
}

TEST(ClientSentinelPassword, IsNamedByItsOptionWhereNoneIsWanted) {
  SentinelTrio trio;
  ClientOptions options;
  options.sentinel.password = "s3cr3t";
  Client client(trio.url(), options);
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(text_of(error).find("; give no ClientOptions::sentinel.password"), std::string::npos)
      << error.what();
}

TEST(ClientSentinelUser, WithTooFewRightsIsNamedByItsOption) {
  SentinelTrio trio;
  for (std::size_t i = 0; i < SentinelTrio::size; ++i) {
    trio.at_sentinel(i).command({"ACL", "SETUSER", "asks", "on", ">pass", "&*", "+ping"});
  }
  ClientOptions options;
  options.sentinel.user = "asks";
  options.sentinel.password = "pass";
  Client client(trio.url(), options);
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_NE(text_of(error).find("\"; give the user of ClientOptions::sentinel the rights at the "
                                "Sentinels that docs/permissions.md lists"),
            std::string::npos)
      << error.what();
  EXPECT_EQ(text_of(error).find("is this a Sentinel"), std::string::npos) << error.what();
}

TEST(ClientSentinelTls, IsNamedByItsOptionsWhereItsIssuersAreUnknown) {
  SentinelTrio trio(TrioOptions{.tls = true});
  const TemporaryDirectory directory;
  const CertificateAuthority other(directory.path(), "other");
  ClientOptions options = options_for(trio);
  options.sentinel.tls.ca_file = other.file();
  Client client(trio.url(), options);
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(text_of(error).find("not in sentinel.tls.ca_file \"" + other.file() + "\""),
            std::string::npos)
      << error.what();
  options.sentinel.tls.ca_file = other.file() + ".no";
  const Error unreadable = thrown_by([&] { Client(trio.url(), options); });
  EXPECT_EQ(unreadable.code(), Errc::invalid_argument);
  EXPECT_NE(text_of(unreadable).find("sentinel.tls.ca_file"), std::string::npos)
      << unreadable.what();
}

TEST(ClientSentinelTls, IsProposedWhereAPlainUrlLeadsToPortsForTls) {
  SentinelTrio trio(TrioOptions{.tls = true});
  std::string url = trio.url();
  url.replace(0, url.find("://"), "redis-sentinel");
  Client client(url);
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(text_of(error).find("use rediss-sentinel://"), std::string::npos) << error.what();
}

TEST(ClientSentinelTls, TrustsItsOwnIssuersAtTheSentinels) {
  SentinelTrio trio(TrioOptions{.tls = true});
  ClientOptions options = options_for(trio);
  options.sentinel.tls.server_name = "redis.example";
  options.sentinel.tls.ca_file = own_certificates().issuer;
  Client refused(trio.url(), options);
  const Error error = thrown_by([&] { refused.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(text_of(error).find("redis.example"), std::string::npos) << error.what();
}

// What becomes of locks in a failover

class ClientSentinelFailover : public testing::TestWithParam<Loss> {
 protected:
  SentinelTrio trio{};
  Client client{trio.url()};
};

TEST_P(ClientSentinelFailover, KeepsLocksOfAllClasses) {
  Lock lock(client, "job", long_enough);
  FairLock fair(client, "fair", long_enough);
  ReadLock read(client, "read", long_enough);
  WriteLock write(client, "write", long_enough);
  RecursiveLock recursive(client, "recursive", long_enough);
  MultiLock multi(client, {"{a}1", "{a}2"}, long_enough);
  Permit permit(client, "permit", 3, long_enough);
  LockOptions numbered = long_enough;
  numbered.fencing = true;
  Lock fenced(client, "fenced", numbered);
  const std::uint64_t before = fenced.fencing_token();
  ASSERT_TRUE(in_step(trio));
  const std::size_t next = fail_over(trio, GetParam());
  const auto is_there = [](auto& one) {
    return eventually([&] {
      try {
        return one.verify();
      } catch (const Error& error) {
        EXPECT_TRUE(error.transient()) << error.what();
        return false;
      }
    });
  };
  EXPECT_TRUE(is_there(lock) && is_there(fair) && is_there(read) && is_there(write) &&
              is_there(recursive) && is_there(multi) && is_there(permit) && is_there(fenced));
  EXPECT_TRUE(owns_all(lock, fair, read, write, recursive, multi, permit, fenced));
  EXPECT_EQ(trio.at_server(next).get("job"), lock.token());
  EXPECT_EQ(fenced.unlock(), Unlock::released);
  fenced.lock();
  EXPECT_GT(fenced.fencing_token(), before);
  EXPECT_EQ(write.unlock(), Unlock::released);
  EXPECT_TRUE(write.try_lock());
}

TEST_P(ClientSentinelFailover, RenewsAtTheNewPrimaryAtOnce) {
  Lock lock(client, "job", {.ttl = 10min});
  ASSERT_TRUE(in_step(trio));
  const auto renewed = client.metrics().renewed;
  const std::size_t next = fail_over(trio, GetParam());
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed > renewed; }, 40s));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(trio.at_server(next).get("job"), lock.token());
}

TEST_P(ClientSentinelFailover, WakesWaiters) {
  Client other(trio.url());
  std::optional<Lock> held(std::in_place, client, "job", long_enough);
  std::atomic<int> acquired = 0;
  std::vector<std::jthread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] {
      const FairLock own(other, "job", 60s, long_enough);
      acquired += own.owns_lock() ? 1 : 0;
    });
  }
  ASSERT_TRUE(eventually([&] {
    return trio.at_server(0).command({"LLEN", "job:redlatch:queue:{job}"}).integer >= 1;
  }));
  // A first attempt in the outage would throw.
  ASSERT_TRUE(eventually([&] { return other.metrics().waiting == 3; }));
  ASSERT_TRUE(in_step(trio));
  fail_over(trio, GetParam());
  EXPECT_TRUE(eventually([&] { return held->owns_lock() && !error_of([&] { client.ping(); }); }));
  held.reset();
  EXPECT_TRUE(eventually([&] { return acquired == 3; }));
}

/// For the log: where the locks are now, and why the connections to the former primary are left.
/// One of them is that for messages.
TEST_P(ClientSentinelFailover, IsNamedInEvents) {
  Diary diary([](const Event& event) {
    return event.kind == EventKind::connected || event.kind == EventKind::disconnected;
  });
  Client one(trio.url(), diary.options(options_for(trio)));
  const auto has = [&](EventKind kind, const std::string& detail) {
    const std::vector<Event> events = diary.events();
    return std::any_of(events.begin(), events.end(), [&](const Event& event) {
      return event.kind == kind && event.detail.find(detail) != std::string::npos;
    });
  };
  const auto address = [&](std::size_t number) {
    return "127.0.0.1:" + std::to_string(trio.port(number));
  };
  const Lock held(one, "job", long_enough);
  // A short wait may be over before there is a connection for messages.
  EXPECT_TRUE(eventually([&] {
    EXPECT_FALSE(FairLock(one, "job", 50ms));
    return diary.events().size() >= 2;
  }));
  EXPECT_TRUE(has(EventKind::connected, address(0)));
  ASSERT_TRUE(in_step(trio));
  const std::size_t next = fail_over(trio, GetParam());
  EXPECT_TRUE(eventually([&] { return has(EventKind::connected, address(next)); }));
  const auto are_left = [&] {
    const std::vector<Event> events = diary.events();
    return std::count_if(events.begin(), events.end(), [](const Event& event) {
             return event.kind == EventKind::disconnected;
           }) >= 2;
  };
  EXPECT_TRUE(eventually(are_left));
  EXPECT_TRUE(GetParam() == Loss::killed ||
              has(EventKind::disconnected, "another server is the primary"));
  for (const Event& event : diary.events()) {
    if (event.error != Errc::not_writable) continue;
    EXPECT_NE(event.detail.find("another server is the primary"), std::string::npos)
        << event.detail;
  }
}

INSTANTIATE_TEST_SUITE_P(, ClientSentinelFailover,
                         testing::Values(Loss::killed, Loss::stopped, Loss::ordered),
                         testing::PrintToStringParamName());

/// A primary that was stopped, replaced and woken up takes itself for the primary for some seconds.
TEST_F(ClientSentinel, DoesNotBelieveAFormerPrimaryThatWakesUp) {
  Client one = client();
  std::deque<Lock> held;  // on all connections
  for (int i = 0; i < 8; ++i) held.emplace_back(one, "before" + std::to_string(i), long_enough);
  ASSERT_TRUE(in_step(trio));
  const std::size_t next = fail_over(trio, Loss::stopped);
  trio.server(0).resume();
  for (int i = 0; i < 8; ++i) {
    const std::string key = "after" + std::to_string(i);
    std::optional<Lock> lock;
    EXPECT_TRUE(
        eventually([&] { return !error_of([&] { lock.emplace(one, key, long_enough); }); }));
    EXPECT_EQ(trio.at_server(next).get(key), lock->token());
    held.push_back(*std::move(lock));
  }
  EXPECT_TRUE(std::ranges::all_of(held, [](Lock& lock) { return lock.verify(); }));
}

/// Another client has acquired "job" at the new primary when the first server wakes up.
void expect_no_second_holder(SentinelTrio& trio, Client& one, const std::optional<Lock>& other) {
  ASSERT_TRUE(other);
  trio.server(0).resume();
  EXPECT_TRUE(eventually([&] {
    return !error_of([&] { EXPECT_FALSE(Lock(one, "job", std::try_to_lock, long_enough)); });
  }));
}

/// A lock on "job" as soon as there is a primary.
std::optional<Lock> acquired_by(Client& client) {
  std::optional<Lock> lock;
  eventually([&] { return !error_of([&] { lock.emplace(client, "job", long_enough); }); });
  return lock;
}

/// It answers all that it is asked, names the former primary, and hears of no failover.
TEST(ClientSentinelHost, ThatIsCutOffFromTheOthersIsNotTheOnlyOneThatIsListenedTo) {
  SentinelTrio trio;
  const ScriptedSentinel alone(trio.port(0));
  std::string url = trio.url();
  url.insert(url.find("://") + 3, "127.0.0.1:" + alone.port() + ",");
  ClientOptions options;
  options.connections = 1;
  options.map_address = only_loopback;
  Client one(url, options);
  { const Lock lock(one, "job", long_enough); }
  ASSERT_TRUE(in_step(trio));
  ASSERT_TRUE(eventually([&] { return alone.is_pinged_by_listener(); }));
  trio.server(0).pause();
  Client other(trio.url());
  ASSERT_TRUE(trio.switched_from(0)) << trio.logs();
  const std::optional<Lock> lock = acquired_by(other);
  expect_no_second_holder(trio, one, lock);
}

/// The host of the primary hangs, with a Sentinel that the client listens to.
TEST(ClientSentinelHost, ThatHasHungHasNoFormerPrimaryThatIsBelieved) {
  SentinelTrio trio(TrioOptions{.down_after = 3s});
  Client one(trio.url());
  { const Lock lock(one, "job", long_enough); }
  ASSERT_TRUE(in_step(trio));
  trio.sentinel(0).pause();
  trio.server(0).pause();
  Client other(trio.url());
  ASSERT_TRUE(trio.switched_from(0)) << trio.logs();
  const std::optional<Lock> lock = acquired_by(other);
  expect_no_second_holder(trio, one, lock);
  trio.sentinel(0).resume();
}

/// The Sentinel has hung before the client begins, which would wait for it as long as it may.
TEST(ClientSentinelHost, ThatHasHungIsNotWaitedForToListen) {
  SentinelTrio trio;
  trio.sentinel(0).pause();
  Client one(trio.url(), patient());
  { const Lock lock(one, "job", long_enough); }
  ASSERT_TRUE(in_step(trio));
  trio.server(0).pause();
  Client other(trio.url());
  ASSERT_TRUE(trio.switched_from(0)) << trio.logs();
  const std::optional<Lock> lock = acquired_by(other);
  expect_no_second_holder(trio, one, lock);
  trio.sentinel(0).resume();
}

/// The rights of a user at one Sentinel, who may do all at the others.
class ClientSentinelRefusal : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(ClientSentinelRefusal, KeepsNoClientFromListeningToTheOtherSentinels) {
  SentinelTrio trio;
  for (std::size_t i = 0; i < SentinelTrio::size; ++i) {
    std::vector<std::string> user{"ACL", "SETUSER", "asks", "on", ">pass", "&*", "+@all"};
    if (i == 0) user.insert(user.end(), GetParam().begin(), GetParam().end());
    trio.at_sentinel(i).command(user);
  }
  ClientOptions options;
  options.sentinel.user = "asks";
  options.sentinel.password = "pass";
  Client one(trio.url(), options);
  { const Lock lock(one, "job", long_enough); }
  ASSERT_TRUE(in_step(trio));
  trio.server(0).pause();
  Client other(trio.url(), options);
  ASSERT_TRUE(trio.switched_from(0)) << trio.logs();
  const std::optional<Lock> lock = acquired_by(other);
  expect_no_second_holder(trio, one, lock);
}

INSTANTIATE_TEST_SUITE_P(, ClientSentinelRefusal,
                         testing::Values(std::vector<std::string>{"<pass", ">other"},
                                         std::vector<std::string>{"-subscribe"}));

/// The client has only connected so far, and the first Sentinel that it would listen to is away.
TEST_F(ClientSentinel, DoesNotBelieveAFormerPrimaryAfterAPingAlone) {
  options.connections = 1;
  std::string url = trio.url();
  url.insert(url.find("://") + 3, "127.0.0.1:" + std::to_string(free_port()) + ",");
  Client one(url, options);
  one.ping();
  const std::size_t next = fail_over(trio, Loss::stopped);
  Client other = client();
  const std::optional<Lock> lock = acquired_by(other);
  expect_no_second_holder(trio, one, lock);
  ASSERT_TRUE(lock);
  EXPECT_EQ(trio.at_server(next).get("job"), lock->token());
}

/// The call waits for a primary that was stopped, for longer than it takes to promote another one;
/// and the client, at its end, for the release of what is in doubt.
TEST_F(ClientSentinel, DoesNotBelieveTheLateAnswerOfAFormerPrimary) {
  options.command_timeout = 8s;
  Client one = client();
  { const Lock connects(one, "job", long_enough); }
  trio.server(0).pause();
  std::jthread caller([&] {
    Lock lock(one, "job", std::defer_lock, long_enough);
    const std::error_code error = error_of([&] { static_cast<void>(lock.try_lock()); });
    if (error) {
      EXPECT_EQ(error, Errc::not_writable) << error.message();
    } else {
      EXPECT_EQ(trio.at_server(trio.primary().value()).get("job"), lock.token());
    }
  });
  ASSERT_TRUE(trio.switched_from(0)) << trio.logs();
  trio.server(0).resume();
}

/// The process slept through a failover: what its subscription has to say was not read yet.
TEST_F(ClientSentinel, DoesNotBelieveAFormerPrimaryAfterItsOwnPause) {
  SharedMemory<std::atomic<int>> step;
  Child child([&] {
    Client own(trio.url());
    const Lock lock(own, "before", long_enough);
    *step = 1;
    if (!eventually([&] { return *step == 2; })) throw std::runtime_error("not told to go on");
    const Lock after(own, "after", 10s, long_enough);
    *step = 3;
    if (!eventually([&] { return *step == 4; })) throw std::runtime_error("not told to end");
  });
  ASSERT_TRUE(eventually([&] { return *step == 1; }));
  ASSERT_TRUE(in_step(trio));
  child.stop();
  const std::size_t next = fail_over(trio, Loss::stopped);
  trio.server(0).resume();
  *step = 2;
  child.go_on();
  ASSERT_TRUE(eventually([&] { return *step == 3; }));
  EXPECT_TRUE(trio.at_server(next).exists("after"));
  *step = 4;
  EXPECT_EQ(child.wait(), 0);
}

/// The replicas have no connection, and stand still, while the lock is acquired.
TEST_F(ClientSentinel, AnnouncesALockThatTheFailoverHasForgotten) {
  std::mutex mutex;
  std::optional<std::chrono::steady_clock::time_point> lost_at;
  options.on_event = [&](const Event& event) {
    const std::lock_guard hold(mutex);
    if (event.kind == EventKind::lost) lost_at = std::chrono::steady_clock::now();
  };
  Client one = client();
  one.ping();
  ASSERT_TRUE(in_step(trio));
  for (std::size_t i = 1; i < SentinelTrio::size; ++i) trio.server(i).pause();
  trio.at_server(0).command({"CLIENT", "KILL", "TYPE", "replica"});
  Lock lock(one, "job", long_enough);
  const auto end = lock.expires_at();
  trio.server(0).kill();
  for (std::size_t i = 1; i < SentinelTrio::size; ++i) trio.server(i).resume();
  ASSERT_TRUE(trio.switched_from(0)) << trio.logs();
  EXPECT_TRUE(eventually([&] { return lock.lost_token().stop_requested(); }, 40s));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard hold(mutex);
    return lost_at.has_value();
  }));
  EXPECT_LT(*lost_at, end);
}

/// Also those that are not used any more.
TEST_F(ClientSentinel, ClosesItsConnectionsToAFormerPrimary) {
  std::atomic<int> open = 0;
  options.on_event = [&](const Event& event) {
    if (event.kind == EventKind::connected) ++open;
    if (event.kind == EventKind::disconnected) --open;
  };
  Client one = client();
  {
    std::deque<Lock> held;  // on all connections
    for (int i = 0; i < 8; ++i) held.emplace_back(one, std::to_string(i), long_enough);
  }
  ASSERT_TRUE(eventually([&] { return open == 4; }));
  fail_over(trio, Loss::stopped);
  EXPECT_TRUE(eventually([&] { return open == 0; }));
}

/// Its own connections to the former primary are closed without a command there.
TEST_F(ClientSentinel, SendsNothingToAFormerPrimary) {
  Client one = client();
  { const Lock lock(one, "job", long_enough); }
  ASSERT_TRUE(in_step(trio));
  const std::size_t next = fail_over(trio, Loss::ordered);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { one.ping(); }); }));
  LockOptions ridden_out = long_enough;
  ridden_out.ride_out = true;  // another Sentinel's news of the failover
  for (int i = 0; i < 50; ++i) {
    const Lock lock(one, "job" + std::to_string(i), ridden_out);
    EXPECT_EQ(trio.at_server(next).get(lock.key()), lock.token());
  }
}

}  // namespace sentinel_client_test
}  // namespace redlatch::test
