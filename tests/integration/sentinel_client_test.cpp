// Locks on a primary that Sentinels name.

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
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
#include "scripted_server.hpp"
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

// What a strange Sentinel says

/// A Sentinel that says what a test wants: the primary, and other Sentinels. It does not learn from
/// these, as one that is cut off.
class ScriptedSentinel {
 public:
  explicit ScriptedSentinel(std::uint16_t primary, std::string epoch = "1")
      : primary_(std::to_string(primary)), epoch_(std::move(epoch)) {}

  std::string url() const {
    std::string url = server_.url();
    return url.replace(0, url.find("://"), "redis-sentinel") + "#orders";
  }
  std::string port() const { return server_.url().substr(server_.url().rfind(':') + 1); }
  std::size_t connections() const { return server_.connections(); }
  bool is_listened_to() const { return subscriber_ != 0; }
  /// The client has listened for a second, and asked whatever it asks as it begins to.
  bool is_pinged_by_listener() const { return pings_ > 0; }
  /// Of the client that listens, one a second. What it was told in front of the last but one, it
  /// has heard.
  std::size_t pings() const { return pings_; }
  void tell_of_failover() { tell("+switch-master", "orders 127.0.0.1 1 127.0.0.1 2"); }
  /// From now on it names the server at that port.
  void learn(std::uint16_t primary, const std::string& epoch) {
    const auto hold = server_.hold();
    former_ = std::exchange(primary_, std::to_string(primary));
    epoch_ = epoch;
  }
  void tell_of_promotion() {
    tell("+promoted-slave", "slave 127.0.0.1:" + primary_ + " 127.0.0.1 " + primary_ +
                                " @ orders 127.0.0.1 " + former_);
  }
  void tell_of_switch() {
    tell("+switch-master", "orders 127.0.0.1 " + former_ + " 127.0.0.1 " + primary_);
  }
  void hang_up() { server_.close_all(); }
  /// The client that listens gets nothing any more, as behind a network that is cut off.
  void lose_listener() { lost_listener_ = subscriber_.load(); }
  /// So many of the next connections get no answer to a question.
  void lose_questions(int connections) { lost_ = connections; }
  void refuse_subscriptions() { refuses_subscriptions_ = true; }
  void forget_service() { has_forgotten_ = true; }
  /// It takes so long for each answer.
  void be_slow(std::chrono::milliseconds time) { slowness_ = time; }
  /// So much that its end is heard later than its begin, and what a socket holds that is not read.
  void tell_of_others() {
    std::string all;
    for (int i = 0; i < 500; ++i) {
      all += resp::array({resp::bulk("message"), resp::bulk("+sentinel"),
                          resp::bulk("sentinel f00 127.0.0.1 1 @ others 127.0.0.1 2")});
    }
    server_.say(subscriber_, all);
  }
  /// From now on it knows the Sentinel at that port.
  void tell_of(const ScriptedSentinel& other) {
    {
      const auto hold = server_.hold();
      other_ = {"127.0.0.1", other.port()};
      is_other_told_ = false;
    }
    tell("+sentinel", "sentinel f00 127.0.0.1 " + other.port() + " @ orders 127.0.0.1 " + primary_);
  }
  void know_no_other() {
    const auto hold = server_.hold();
    other_ = {"10.0.0.9", "26379"};
  }
  /// Whether a client has asked for it since then.
  bool has_told_of_other() const { return is_other_told_; }

 private:
  void tell(const char* channel, const std::string& message) {
    {
      const auto hold = server_.hold();
      if (!channels_.contains(channel)) return;
    }
    server_.say(subscriber_,
                resp::array({resp::bulk("message"), resp::bulk(channel), resp::bulk(message)}));
  }
  std::string answer(const ScriptedRequest& request) {
    if (request.is("PING")) {
      if (request.connection == lost_listener_) return {};
      if (request.connection == subscriber_) ++pings_;
      return resp::status("PONG");
    }
    if (request.is("SUBSCRIBE") && refuses_subscriptions_) {
      return resp::error("NOPERM this user has no permissions to run the 'subscribe' command");
    }
    if (request.is("SUBSCRIBE")) {
      subscriber_ = request.connection;
      channels_.insert(request.words[1]);
      return resp::array({resp::bulk("subscribe"), resp::bulk(request.words[1]), resp::integer(1)});
    }
    if (!request.is("SENTINEL")) return resp::error("ERR unknown command");
    std::this_thread::sleep_for(slowness_.load());
    if (lost_ > 0) {
      --lost_;
      return {};
    }
    if (has_forgotten_) return request.words[1] == "MASTERS" ? resp::array({}) : resp::nil_array;
    if (request.words[1] == "MASTER") {
      return resp::array({resp::bulk("config-epoch"), resp::bulk(epoch_)});
    }
    if (request.words[1] == "SENTINELS") {
      is_other_told_ = true;
      return resp::array({resp::array({resp::bulk("ip"), resp::bulk(other_.first),
                                       resp::bulk("port"), resp::bulk(other_.second)})});
    }
    return resp::array({resp::bulk("127.0.0.1"), resp::bulk(primary_)});
  }

  std::string primary_;
  std::string epoch_;
  std::string former_{};
  std::pair<std::string, std::string> other_{"10.0.0.9", "26379"};
  std::atomic<bool> is_other_told_ = false;
  std::atomic<int> lost_ = 0;
  std::atomic<bool> refuses_subscriptions_ = false;
  std::atomic<bool> has_forgotten_ = false;
  std::atomic<std::chrono::milliseconds> slowness_{};
  std::atomic<std::size_t> pings_ = 0;
  std::set<std::string> channels_{};
  std::atomic<std::size_t> subscriber_ = 0;
  std::atomic<std::size_t> lost_listener_ = 0;
  ScriptedServer server_{[this](const ScriptedRequest& request) { return answer(request); }};
};

/// Translates the primary, and knows no other address.
Address only_loopback(const Address& address) {
  if (address.host != "127.0.0.1") throw std::out_of_range("no such host");
  return address;
}

TEST(ClientStrangeSentinel, MayNameSentinelsThatCannotBeTranslated) {
  RedisServer server;
  const ScriptedSentinel sentinel(server.port());
  ClientOptions options = patient();
  options.map_address = only_loopback;
  Client client(sentinel.url(), options);
  EXPECT_FALSE(error_of([&] { client.ping(); }));
}

/// The background thread begins before it is known where to connect to, and nothing wakes it up
/// afterwards: no lock is renewed, and no release is sent.
TEST(ClientStrangeSentinel, IsListenedToBehindAFirstCallThatAcquiresNothing) {
  RedisServer server;
  Client other(server.url(), patient());
  const Lock held(other, "job", long_enough);
  const ScriptedSentinel sentinel(server.port());
  ClientOptions options = patient();
  options.map_address = only_loopback;
  options.credentials = [] {
    std::this_thread::sleep_for(50ms);  // the thread has begun, most probably
    return Credentials{"default", "any"};
  };
  Client client(sentinel.url(), options);
  EXPECT_FALSE(Lock(client, "job", std::try_to_lock, long_enough));
  EXPECT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
}

TEST(ClientStrangeSentinel, MayRepeatItselfWithoutAStormOfConnections) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  ClientOptions options = patient();
  options.map_address = only_loopback;
  Client client(sentinel.url(), options);
  Lock lock(client, "job", long_enough);
  ASSERT_TRUE(eventually([&] { return sentinel.is_listened_to(); }));
  const std::size_t before = sentinel.connections();
  const auto time = duration_of([&] {
    for (int i = 0; i < 1000; ++i) {
      sentinel.tell_of_failover();
      static_cast<void>(error_of([&] { static_cast<void>(lock.verify()); }));  // or not_writable
    }
  });
  // Twice in each tenth of a second: when it is heard, and at the end of that.
  const auto tenths = static_cast<std::size_t>(time / 100ms) + 1;
  EXPECT_LE(sentinel.connections() - before, 4 * tenths + 4);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
  EXPECT_TRUE(lock.owns_lock());
}

/// The primary is a replica now, and the Sentinel names another server, which is away.
TEST(ClientStrangeSentinel, IsQuotedBesideTheFormerPrimary) {
  RedisServer server;
  RawClient raw(server.socket());
  ScriptedSentinel sentinel(server.port());
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(sentinel.url(), options);
  const Lock lock(client, "job", long_enough);
  // What the server says of itself is believed on a connection that is new.
  const auto connected = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - connected > 200ms; }));
  const std::uint16_t other = free_port();
  sentinel.learn(other, "2");
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  std::string text;
  // The client waits for Sentinels for a moment only before it goes on with what it knows.
  EXPECT_TRUE(eventually([&] {
    const Error error = thrown_by([&] { const Lock next(client, "next", std::try_to_lock); });
    text = error.what();
    return error.code() == Errc::unreachable;
  }));
  for (const std::string& part : {"the primary of orders is 127.0.0.1:" + std::to_string(other),
                                  "; before that, from 127.0.0.1:" + std::to_string(server.port()) +
                                      ": the server said \"READONLY "}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  raw.command({"REPLICAOF", "NO", "ONE"});
}

/// All Sentinels are replaced one by one while the client has no reason to ask them, and a failover
/// follows.
TEST(ClientStrangeSentinel, IsReplacedByOneThatItTellsOf) {
  RedisServer server;
  RedisServer promoted;
  std::optional<ScriptedSentinel> named(std::in_place, server.port());
  const ScriptedSentinel next(promoted.port(), "2");
  Client client(named->url(), patient());
  Lock lock(client, "job", long_enough);
  ASSERT_TRUE(eventually([&] { return named->is_pinged_by_listener(); }));
  named->tell_of(next);
  ASSERT_TRUE(eventually([&] { return named->has_told_of_other(); }));
  named.reset();
  server.kill();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
  EXPECT_TRUE(eventually([&] { return next.is_listened_to(); }));
}

constexpr int all_questions = 1 << 20;

/// Between the message of a failover and the answer who the primary is, the client knows none: it
/// does not go back to the former primary.
TEST(ClientStrangeSentinel, IsWaitedForBehindItsMessageOfAFailover) {
  RedisServer former;
  RedisServer promoted;
  Client other(promoted.url(), patient());
  const Lock held(other, "job", long_enough);
  ScriptedSentinel sentinel(former.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  Client client(sentinel.url(),
                diary.options({.connect_timeout = 500ms, .command_timeout = 500ms}));
  client.ping();
  ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
  sentinel.lose_questions(all_questions);
  sentinel.learn(promoted.port(), "2");
  sentinel.tell_of_switch();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  Lock lock(client, "job", std::defer_lock, long_enough);
  for (int i = 0; i < 3; ++i) {
    const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
    EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
    EXPECT_NE(text_of(error).find("127.0.0.1:" + sentinel.port() + " has told of a failover"),
              std::string::npos)
        << error.what();
  }
  sentinel.lose_questions(0);
  bool is_held = false;
  EXPECT_TRUE(eventually([&] { return !error_of([&] { is_held = lock.try_lock(); }); }));
  EXPECT_FALSE(is_held);
}

/// It says what the failover was, and no more: the former primary is not believed again.
class ClientSentinelThatEnds : public testing::TestWithParam<bool> {};

TEST_P(ClientSentinelThatEnds, LeavesThePrimaryUnknownBehindItsMessageOfAFailover) {
  RedisServer former;
  RedisServer promoted;
  std::optional<ScriptedSentinel> sentinel(std::in_place, former.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  Client client(sentinel->url(),
                diary.options({.connect_timeout = 500ms, .command_timeout = 500ms}));
  client.ping();
  ASSERT_TRUE(eventually([&] { return sentinel->is_pinged_by_listener(); }));
  if (GetParam()) {
    sentinel->forget_service();
  } else {
    sentinel->lose_questions(all_questions);
  }
  sentinel->learn(promoted.port(), "2");
  sentinel->tell_of_switch();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  if (!GetParam()) sentinel.reset();
  const Error error =
      thrown_by([&] { const Lock lock(client, "job", 4s, {.ttl = 2min, .ride_out = true}); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
}

INSTANTIATE_TEST_SUITE_P(, ClientSentinelThatEnds, testing::Bool(), [](const auto& its) {
  return its.param ? "ForgetsTheService" : "IsAway";
});

/// It is away behind its message, and the other one does not know it any more.
TEST(ClientStrangeSentinel, HasToldOfAFailoverAlthoughItHasLeftSince) {
  RedisServer server;
  ScriptedSentinel named(server.port());
  ScriptedSentinel learned(server.port());
  named.tell_of(learned);
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  ClientOptions options = diary.options({.connect_timeout = 500ms, .command_timeout = 500ms});
  options.map_address = only_loopback;
  Client client(named.url(), options);
  client.ping();
  ASSERT_TRUE(eventually([&] { return learned.is_pinged_by_listener(); }));
  learned.lose_questions(all_questions);
  named.know_no_other();
  learned.tell_of_failover();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  const Error error = thrown_by([&] { const Lock lock(client, "job", std::try_to_lock); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
}

/// It cannot be asked twice in the time to connect.
TEST(ClientStrangeSentinel, MayBeFarAwayAndNotListenedTo) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  sentinel.refuse_subscriptions();
  sentinel.be_slow(200ms);
  Client client(sentinel.url(), {.connect_timeout = 1200ms, .command_timeout = 5s});
  client.ping();
}

/// A program's function hangs, and the server is well.
TEST(ClientStrangeSentinel, IsNotAskedAgainAndAgainWhereItsAnswerIsNeverTranslated) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  sentinel.refuse_subscriptions();
  // The threads that are in the function may outlive the client.
  struct Translation {
    std::promise<void> end{};
    std::shared_future<void> ended = end.get_future().share();
    std::atomic<bool> hangs = false;
    std::atomic<int> hung = 0;
  };
  const auto translation = std::make_shared<Translation>();
  ClientOptions options{.connect_timeout = 500ms, .command_timeout = 500ms};
  options.connections = 1;
  options.map_address = [translation](const Address& address) {
    if (translation->hangs && ++translation->hung > 0) translation->ended.wait();
    return only_loopback(address);
  };
  Client client(sentinel.url(), options);
  client.ping();
  translation->hangs = true;
  for (int i = 0; i < 4; ++i) {
    const auto idle = std::chrono::steady_clock::now();
    ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - idle > 1100ms; }));
    EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
  }
  EXPECT_LE(translation->hung, 2);
  translation->end.set_value();
}

/// The other one has not heard of the failover, and would have within two seconds.
TEST(ClientStrangeSentinel, IsNotWaitedForLongIfItEndsBehindItsMessage) {
  RedisServer server;
  std::optional<ScriptedSentinel> first(std::in_place, server.port());
  const ScriptedSentinel second(server.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  Client client(
      "redis-sentinel://127.0.0.1:" + first->port() + ",127.0.0.1:" + second.port() + "#orders",
      diary.options(patient()));
  client.ping();
  ASSERT_TRUE(eventually([&] { return first->is_pinged_by_listener(); }));
  first->lose_questions(all_questions);
  first->tell_of_failover();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  first.reset();
  client.ping();
}

/// A failover while the client did not listen, and the one question behind that gets lost.
TEST(ClientStrangeSentinel, IsAskedAgainIfItOwesAnAnswer) {
  RedisServer former;
  RedisServer promoted;
  RawClient raw(former.socket());
  ScriptedSentinel sentinel(former.port());
  ClientOptions options{.connect_timeout = 500ms, .command_timeout = 500ms};
  options.client_name = "listener";
  Client client(sentinel.url(), options);
  client.ping();
  ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
  ASSERT_FALSE(raw.clients("listener").empty());
  sentinel.lose_questions(1);
  sentinel.learn(promoted.port(), "2");
  sentinel.hang_up();
  EXPECT_TRUE(eventually([&] { return raw.clients("listener").empty(); }));
}

/// No Sentinel can be listened to, and the server was silent for longer than a failover takes.
TEST(ClientStrangeSentinel, IsAskedBeforeAServerIsBelievedIfItIsNotListenedTo) {
  RedisServer former;
  RedisServer promoted;
  Client other(promoted.url(), patient());
  const Lock held(other, "job", long_enough);
  ScriptedSentinel sentinel(former.port());
  sentinel.refuse_subscriptions();
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(sentinel.url(), options);
  client.ping();
  const auto answered = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - answered > 1100ms; }));
  sentinel.learn(promoted.port(), "2");
  Lock lock(client, "job", std::defer_lock, long_enough);
  bool is_held = false;
  EXPECT_TRUE(eventually([&] {
    const bool is_asked = !error_of([&] { is_held |= lock.try_lock(); });
    return is_asked || is_held;
  }));
  EXPECT_FALSE(is_held);
}

/// Three Sentinels tell of it, one of them twice. Their messages name the server as it is called
/// before `map_address`.
TEST(ClientStrangeSentinel, MakesConnectionsObsoleteOnceInAFailoverThatAllTellOf) {
  RedisServer server;
  RedisServer promoted;
  std::deque<ScriptedSentinel> sentinels;
  std::string url = "redis-sentinel://";
  for (int i = 0; i < 3; ++i) {
    url += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + sentinels.emplace_back(server.port()).port();
  }
  Diary diary([](const Event& event) { return event.kind == EventKind::connected; });
  ClientOptions options = diary.options(patient());
  options.connections = 1;
  options.map_address = [](const Address& address) -> Address {
    return {"localhost", only_loopback(address).port};
  };
  Client client(url + "#orders", options);
  client.ping();
  for (const ScriptedSentinel& one : sentinels) {
    EXPECT_TRUE(eventually([&] { return one.is_pinged_by_listener(); }));
  }
  for (ScriptedSentinel& one : sentinels) one.learn(promoted.port(), "2");
  sentinels.front().tell_of_promotion();
  const auto leads_to_promoted = [&] {
    static_cast<void>(error_of([&] { client.ping(); }));
    return !diary.events().empty() &&
           diary.events().back().detail.find(std::to_string(promoted.port())) != std::string::npos;
  };
  ASSERT_TRUE(eventually(leads_to_promoted));
  const std::size_t before = diary.events().size();
  for (ScriptedSentinel& one : sentinels) {
    const std::size_t pings = one.pings();
    one.tell_of_switch();
    EXPECT_TRUE(eventually([&] { return one.pings() >= pings + 2; }));
    EXPECT_FALSE(error_of([&] { client.ping(); }));
  }
  EXPECT_EQ(diary.events().size(), before);
}

/// Each client has a connection to each Sentinel that it listens to.
TEST(ClientStrangeSentinel, IsOneOfEightThatAreListenedTo) {
  RedisServer server;
  std::deque<ScriptedSentinel> sentinels;
  std::string url = "redis-sentinel://";
  for (int i = 0; i < 10; ++i) {
    url += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + sentinels.emplace_back(server.port()).port();
  }
  ClientOptions options = patient();
  options.map_address = only_loopback;
  Client client(url + "#orders", options);
  client.ping();
  const auto count = [&](bool (ScriptedSentinel::*has)() const) {
    return std::ranges::count_if(sentinels, [&](const auto& one) { return (one.*has)(); });
  };
  EXPECT_TRUE(eventually([&] { return count(&ScriptedSentinel::is_pinged_by_listener) == 8; }));
  EXPECT_EQ(count(&ScriptedSentinel::is_listened_to), 8);
  for (ScriptedSentinel& one : sentinels) {
    if (!one.is_listened_to()) continue;
    one.hang_up();
    break;
  }
  EXPECT_TRUE(eventually([&] { return count(&ScriptedSentinel::is_listened_to) == 9; }));
}

/// A process that is stopped while a Sentinel tells of a failover: it goes on when a server that
/// has been replaced says something to it. It hears that first, although the Sentinel has more to
/// say.
class ClientSentinelStopped : public testing::Test {
 protected:
  struct State {
    std::atomic<int> port = 0;  // of the Sentinel
    std::atomic<bool> is_held = false;
  };

  /// Acquires "job" and holds it.
  void acquire() {
    EXPECT_TRUE(eventually([&] { return state->port != 0; }));
    ClientOptions options = patient();
    options.map_address = only_loopback;
    options.client_name = "stopped";
    Client own("redis-sentinel://127.0.0.1:" + std::to_string(state->port) + "#orders", options);
    const Lock lock(own, "job", 40s, long_enough);
    state->is_held = lock.owns_lock();
    eventually([] { return false; }, 1min);
  }
  void fail_over(ScriptedSentinel& sentinel) {
    child.stop();
    sentinel.learn(promoted.port(), "2");
    sentinel.tell_of_others();
    sentinel.tell_of_switch();
  }
  /// It asks for the lock there in vain, and not at the former primary.
  void expect_to_wait_at_promoted() {
    RawClient raw(promoted.socket());
    EXPECT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
    EXPECT_FALSE(state->is_held);
  }

  /// The lock has a holder at each of the two servers. `fail_over` stops the process, and has the
  /// former primary grant it the lock.
  void expect_to_believe_no_grant(
      ScriptedSentinel& sentinel,
      const std::function<void(const std::function<void()>& grant)>& fail_over) {
    Client one(former.url(), patient());
    Client other(promoted.url(), patient());
    std::optional<Lock> before(std::in_place, one, "job", long_enough);
    const Lock now(other, "job", long_enough);
    state->port = std::stoi(sentinel.port());
    RawClient raw(former.socket());
    ASSERT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
    ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
    fail_over([&] {
      EXPECT_EQ(before->unlock(), Unlock::released);
      EXPECT_TRUE(raw.exists("job")) << "it is granted";
    });
    child.go_on();
    expect_to_wait_at_promoted();
    EXPECT_TRUE(now.owns_lock());
  }

  RedisServer former{};
  RedisServer promoted{};
  const SharedMemory<State> state{};
  const Child child{[this] { acquire(); }};
};

TEST_F(ClientSentinelStopped, BelievesNoGrantOfAFormerPrimary) {
  ScriptedSentinel sentinel(former.port());
  expect_to_believe_no_grant(sentinel, [&](const auto& grant) {
    fail_over(sentinel);
    grant();
  });
}

TEST_F(ClientSentinelStopped, BelievesNoFormerPrimaryThatItConnectsTo) {
  ScriptedSentinel sentinel(former.port());
  Client other(promoted.url(), patient());
  const Lock now(other, "job", long_enough);
  RawClient raw(former.socket());
  former.pause();
  state->port = std::stoi(sentinel.port());
  ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
  fail_over(sentinel);
  former.resume();
  ASSERT_TRUE(eventually([&] { return !raw.clients("stopped").empty(); }));
  child.go_on();
  expect_to_wait_at_promoted();
  EXPECT_TRUE(now.owns_lock());
}

TEST_F(ClientSentinelStopped, BelievesNoGrantOfAFormerPrimaryBehindABreakOfItsListening) {
  ScriptedSentinel sentinel(former.port());
  expect_to_believe_no_grant(sentinel, [&](const auto& grant) {
    child.stop();
    sentinel.learn(promoted.port(), "2");
    sentinel.hang_up();
    grant();
  });
}

/// Nothing says that the connection has ended on which it has listened.
TEST_F(ClientSentinelStopped, BelievesNoGrantOfAFormerPrimaryBehindASilenceOfTheSentinel) {
  ScriptedSentinel sentinel(former.port());
  expect_to_believe_no_grant(sentinel, [&](const auto& grant) {
    child.stop();
    grant();
    sentinel.lose_listener();
    const auto stopped = std::chrono::steady_clock::now();
    ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - stopped > 2s; }));
    sentinel.learn(promoted.port(), "2");
  });
}

/// It was stopped before it could listen.
TEST_F(ClientSentinelStopped, BelievesNoFormerPrimaryThatItConnectsToWithoutListening) {
  ScriptedSentinel sentinel(former.port());
  sentinel.refuse_subscriptions();
  Client other(promoted.url(), patient());
  const Lock now(other, "job", long_enough);
  RawClient raw(former.socket());
  former.pause();
  state->port = std::stoi(sentinel.port());
  ASSERT_TRUE(eventually([&] { return sentinel.has_told_of_other(); }));
  const auto told = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - told > 200ms; }));
  child.stop();
  sentinel.learn(promoted.port(), "2");
  former.resume();
  ASSERT_TRUE(eventually([&] { return !raw.clients("stopped").empty(); }));
  child.go_on();
  expect_to_wait_at_promoted();
  EXPECT_TRUE(now.owns_lock());
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
