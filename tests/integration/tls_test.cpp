#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "certificates.hpp"
#include "child.hpp"
#include "diary.hpp"
#include "fixture.hpp"
#include "net/resolver.hpp"
#include "net/socket.hpp"
#include "proxy.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace tls_test {

/// The client's last flight in a resumed handshake of TLS 1.2 has no reply. By Nagle's algorithm
/// the greeting behind it would wait for a late acknowledgement, for 40 ms.
TEST(Socket, DelaysNoSmallFlightFromTheFirstOn) {
  const RedisServer server;
  detail::Resolver resolver({.host = "127.0.0.1", .port = server.port()});
  detail::Socket socket;
  static_cast<void>(socket.connect(resolver.addresses({}, detail::never_cancelled).front()));
  int value = 0;
  socklen_t size = sizeof value;
  ASSERT_EQ(::getsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
  EXPECT_EQ(value, 1);
}

std::string tls_url(std::uint16_t port, const std::string& host = "127.0.0.1") {
  return "rediss://" + host + ":" + std::to_string(port);
}

ClientOptions trusting() {
  ClientOptions options = patient();
  options.tls.ca_file = own_certificates().issuer;
  return options;
}

class ClientTls : public testing::Test {
 protected:
  RedisServer server{RedisServer::WithTls{}};
  RawClient raw{server.socket()};
};

TEST_F(ClientTls, CarriesALifeOfALock) {
  for (const bool scripting : {true, false}) {
    ClientOptions options = trusting();
    options.scripting = scripting;
    Client client(server.url(), options);
    live_one_life(client, raw, long_lease);
  }
}

TEST_F(ClientTls, IsNamedByTheUrlInErrors) {
  Client client(server.url(), trusting());
  raw.command({"LPUSH", "job", "x"});
  const Error error = thrown_by([&] { const Lock lock(client, "job"); });
  EXPECT_EQ(error.code(), Errc::wrong_type);
  EXPECT_EQ(error.server(), server.name());
}

TEST_F(ClientTls, NamesTheAddressThatItIsConnectedTo) {
  Diary diary;
  Client client(tls_url(server.tls_port(), "localhost"), diary.options(trusting()));
  client.ping();
  const Event event = diary.first();
  EXPECT_EQ(event.kind, EventKind::connected);
  EXPECT_EQ(event.detail, "127.0.0.1:" + std::to_string(server.tls_port()));
}

TEST_F(ClientTls, ChecksTheNameOfTheHost) {
  Client client(tls_url(server.tls_port(), "localhost"), trusting());
  client.ping();
}

TEST_F(ClientTls, WakesWaitersOfOtherProcesses) {
  Client holder(server.url(), trusting());
  Client waiter(server.url(), trusting());
  Lock lock(holder, "job", long_lease);
  std::jthread waiting([&] { const Lock own(waiter, "job", long_lease); });
  ASSERT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  waiting.join();
  EXPECT_EQ(waiter.metrics().acquired, 1U);
}

TEST_F(ClientTls, RenewsAndNoticesALoss) {
  Client client(server.url(), trusting());
  Lock lock(client, "job", {.ttl = 2s});
  const auto renewed = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= renewed + 2; }));
  raw.command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return lock.lost_token().stop_requested(); }));
}

TEST_F(ClientTls, ConnectsAgainAfterTheConnectionsWereClosed) {
  ClientOptions options = trusting();
  options.command_timeout = 2s;  // for which the end of the client waits for what is in doubt
  Client client(server.url(), options);
  for (int i = 0; i < 5; ++i) {
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    Lock lock(client, "job", std::defer_lock);
    EXPECT_TRUE(eventually([&] {
      return !error_of([&] { static_cast<void>(lock.try_lock()); }) && lock.owns_lock();
    }));
  }
}

class ClientTlsResumption : public testing::TestWithParam<const char*> {
 protected:
  static constexpr int count = 100;

  /// In ms for each of 100 connections.
  template <class Connect>
  static double processor_time(Connect connect) {
    const auto used = [] {
      timespec time{};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
    };
    const double before = used();
    for (int i = 0; i < count; ++i) connect();
    return (used() - before) / count;
  }

  RedisServer server{RedisServer::WithTls{}, {"--tls-protocols", GetParam()}};
  Proxy proxy{":" + std::to_string(server.tls_port())};
  ClientOptions options = [] {
    ClientOptions one_connection = trusting();
    one_connection.connections = 1;
    return one_connection;
  }();
};

/// A server that resumes a session sends no certificate.
TEST_P(ClientTlsResumption, SparesEveryReconnectAFullHandshake) {
  const auto received = [&] { return proxy.passed(Proxy::Direction::reply); };
  std::size_t full_size = 0;
  const double full = processor_time([&] {
    Client client(proxy.tls_url(), options);
    client.ping();
    full_size = received();
  });
  Client client(proxy.tls_url(), options);
  client.ping();
  int resumed = 0;
  const double again = processor_time([&] {
    proxy.cut();
    eventually([&] { return !error_of([&] { client.ping(); }); });
    if (received() + 300 < full_size) ++resumed;
  });
  std::cout << GetParam() << ": " << resumed << " of " << count
            << " reconnects resumed the session; ms of processor time for each: " << again
            << ", for a full handshake: " << full << '\n';
  EXPECT_EQ(resumed, count);
}

INSTANTIATE_TEST_SUITE_P(Client, ClientTlsResumption, testing::Values("TLSv1.2", "TLSv1.3"),
                         [](const auto& one) {
                           return std::string(one.param) == "TLSv1.2" ? "Tls12" : "Tls13";
                         });

TEST_F(ClientTls, ConnectsAgainAfterTheServerHasRestarted) {
  Client client(server.url(), trusting());
  client.ping();
  server.kill();
  server.start();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
}

TEST_F(ClientTls, CarriesTheCallsOfManyThreads) {
  ClientOptions options = trusting();
  options.connections = 2;
  Client client(server.url(), options);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&client, t] {
      for (int i = 0; i < 50; ++i) {
        const Lock lock(client, "job" + std::to_string(t % 4), long_lease);
        EXPECT_TRUE(lock.owns_lock());
      }
    });
  }
  threads.clear();
  EXPECT_EQ(client.metrics().acquired, 16U * 50U);
}

/// More than a record of TLS can hold, and than its buffers do.
TEST_F(ClientTls, CarriesManyLongKeysAtOnce) {
  Client client(server.url(), trusting());
  std::vector<std::string> keys;
  for (int i = 0; i < 50; ++i) keys.push_back(std::to_string(i) + std::string(2000, 'k'));
  MultiLock lock(client, keys, long_lease);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientTls, IsUsableInAForkedChildAndLeavesTheParentsSessionAlone) {
  Client client(server.url(), trusting());
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(in_child([&] {
              if (Lock(client, "job", std::try_to_lock)) return 1;
              const Lock own(client, "other", long_lease);
              return own.owns_lock() ? 0 : 2;
            }),
            0);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientTls, IsForTheServersOfAQuorumToo) {
  RedisServer second{RedisServer::WithTls{}};
  RedisServer third{};
  QuorumOptions options{.client = trusting(), .server_timeout = 10s};
  Quorum quorum({server.url(), second.url(), third.url()}, options);
  Redlock lock(quorum, "job", long_lease);
  EXPECT_TRUE(raw.exists("job"));
  EXPECT_TRUE(RawClient(second.socket()).exists("job"));
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// What the client says of a server that it cannot use; nothing is sent there that the server could
/// carry out.
Error refusal(const std::string& url, const ClientOptions& options) {
  Client client(url, options);
  const Error error = thrown_by([&] { const Lock lock(client, "job"); });
  EXPECT_FALSE(error.in_doubt());
  return error;
}

bool says(const Error& error, std::string_view text) {
  return std::string_view(error.what()).find(text) != std::string_view::npos;
}

TEST_F(ClientTls, RefusesACertificateOfAnUnknownIssuer) {
  const TemporaryDirectory directory;
  const CertificateAuthority other(directory.path(), "other");
  ClientOptions options = patient();
  options.tls.ca_file = other.file();
  const Error error = refusal(server.url(), options);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_TRUE(says(error, "tls.ca_file")) << error.what();
  options.tls.verify = false;
  Client(server.url(), options).ping();
}

TEST_F(ClientTls, RefusesACertificateForAnotherName) {
  ClientOptions options = trusting();
  options.tls.server_name = "redis.example";
  const Error error = refusal(server.url(), options);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_TRUE(says(error, "\"redis.example\"")) << error.what();
}

TEST_F(ClientTls, SaysThatAPortDoesNotSpeakTls) {
  ClientOptions options = trusting();
  options.connect_timeout = 300ms;  // the server waits for the rest of a command
  const Error error = refusal(tls_url(server.port()), options);
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_TRUE(says(error, "does this port speak TLS?")) << error.what();
}

TEST_F(ClientTls, IsProposedWhereAPlainUrlLeadsToAPortForTls) {
  const Error error = refusal("redis://127.0.0.1:" + std::to_string(server.tls_port()), patient());
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_TRUE(says(error, "rediss://")) << error.what();
}

TEST(ClientTlsHandshake, SaysThatItWasThereWhenTheServerClosesTheConnection) {
  ScriptedServer server([](const ScriptedRequest&) { return std::string(); });
  ClientOptions options = trusting();
  options.connect_timeout = 300ms;
  Client client("rediss" + server.url().substr(5), options);
  std::jthread closing([&] {
    eventually([&] { return server.connections() > 0; });
    server.close_all();
  });
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_TRUE(says(error, "TLS")) << error.what();
}

class ClientTlsCertificate : public testing::Test {
 protected:
  ClientTlsCertificate()
      : server(RedisServer::WithTls{}, {"--tls-auth-clients", "yes"}),
        own(issuer.issue({.name = "client"})) {}

  const TemporaryDirectory directory{};
  CertificateAuthority issuer{directory.path(), "stranger"};
  RedisServer server;
  CertificateFiles own;
};

TEST_F(ClientTlsCertificate, IsAskedForByName) {
  const Error error = refusal(server.url(), trusting());
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_TRUE(says(error, "tls.certificate")) << error.what();
}

TEST_F(ClientTlsCertificate, OfAnUnknownIssuerIsRefused) {
  ClientOptions options = trusting();
  options.tls.certificate = own.certificate;
  options.tls.key = own.key;
  const Error error = refusal(server.url(), options);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_TRUE(says(error, "check tls.certificate")) << error.what();
}

TEST_F(ClientTlsCertificate, OfAKnownIssuerIsShown) {
  ClientOptions options = trusting();
  options.tls.certificate = own_certificates().server.certificate;
  options.tls.key = own_certificates().server.key;
  Client(server.url(), options).ping();
}

TEST(ClientTlsOptions, AreCheckedAtOnce) {
  ClientOptions options = patient();
  options.tls.ca_file = "/there/is/none";
  const Error error = thrown_by([&] { const Client client("rediss://127.0.0.1", options); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_TRUE(says(error, "/there/is/none")) << error.what();
  const Client without("redis://127.0.0.1", options);  // which has no use for them
}

/// The handshake stalls at its bytes, one after the other: the client gives up after its
/// `connect_timeout`, in doubt about nothing.
TEST_F(ClientTls, GivesAHandshakeUpThatStalls) {
  Proxy proxy(":" + std::to_string(server.tls_port()));
  for (const auto direction : {Proxy::Direction::request, Proxy::Direction::reply}) {
    for (std::size_t byte = 0; byte < 400; byte += 40) {
      proxy.arm({direction, byte, Proxy::Manner::stall});
      ClientOptions options = trusting();
      options.connect_timeout = 30ms;
      const Error error = refusal(proxy.tls_url(), options);
      EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
      proxy.release();
    }
  }
  EXPECT_FALSE(raw.exists("job"));
}

}  // namespace tls_test
}  // namespace redlatch::test
