#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "diary.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace login_test {

constexpr const char* secret = "hunter2-is-planted";

std::string with_credentials(const RedisServer& server, const std::string& credentials) {
  return "redis://" + credentials + "@127.0.0.1:" + std::to_string(server.port());
}

/// A server that wants a password, and users.
class ClientLogin : public testing::Test {
 protected:
  ClientLogin() {
    admin.command({"AUTH", "the-default-users"});
    admin.command({"ACL", "SETUSER", "worker", "on", ">p@ss:/w?%#", "~*", "+@all"});
  }

  /// Fails to log in, and says so without the secret.
  void fails_with(const std::string& url) {
    Client client(url, patient());
    for (const Error& error :
         {thrown_by([&] { const Lock lock(client, "job"); }), thrown_by([&] { client.ping(); })}) {
      EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
      EXPECT_FALSE(error.in_doubt());
      EXPECT_EQ(error.server(), server.name());
      EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos) << error.what();
      EXPECT_EQ(error.server().find(secret), std::string::npos);
    }
  }

  RedisServer server{{"--requirepass", "the-default-users"}};
  RawClient admin{server.socket()};
};

TEST_F(ClientLogin, WithThePasswordOfTheDefaultUserWorks) {
  Client client(with_credentials(server, ":the-default-users"), patient());
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
}

TEST_F(ClientLogin, WithUserAndPasswordWorksWithPercentEncoding) {
  Client client(with_credentials(server, "worker:p%40ss%3A%2Fw%3F%25%23"), patient());
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
}

TEST_F(ClientLogin, OverASocketWorks) {
  const std::string path = server.socket();
  for (const std::string credentials : {":the-default-users", "worker:p%40ss%3A%2Fw%3F%25%23"}) {
    Client client("unix://" + credentials + "@" + path + "?db=2", patient());
    EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
  }
}

TEST_F(ClientLogin, OverASocketFailsWithoutAWordOfThePassword) {
  Client client(std::string("unix://worker:") + secret + "@" + server.socket(), patient());
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
  EXPECT_EQ(error.server(), server.unix_url());
  EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos) << error.what();
}

TEST_F(ClientLogin, WithAWrongPasswordFails) {
  fails_with(with_credentials(server, std::string(":") + secret));
  fails_with(with_credentials(server, std::string("worker:") + secret));
  fails_with(with_credentials(server, std::string("default:") + secret));
}

TEST_F(ClientLogin, WithAWrongUserFails) {
  fails_with(with_credentials(server, std::string("nobody:") + secret));
  fails_with(with_credentials(server, std::string(secret) + ":the-default-users"));
}

TEST_F(ClientLogin, WithoutAPasswordFails) { fails_with(server.url()); }

TEST_F(ClientLogin, WithoutAPasswordFailsAlsoForAnotherDatabaseAndWithoutScripting) {
  ClientOptions options = patient();
  options.scripting = false;
  Client client(server.url() + "/2", options);
  EXPECT_EQ(error_of([&] { client.ping(); }), Errc::authentication_failed);
}

TEST_F(ClientLogin, OfAUserWhoIsSwitchedOffFails) {
  admin.command({"ACL", "SETUSER", "off-duty", "off", std::string(">") + secret, "~*", "+@all"});
  fails_with(with_credentials(server, std::string("off-duty:") + secret));
}

TEST_F(ClientLogin, WhereNoPasswordIsAskedForFails) {
  const RedisServer open;
  Client client(with_credentials(open, std::string(":") + secret), patient());
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos) << error.what();
}

TEST(ClientRenamedAuth, IsNeverAnsweredWithAnEchoOfThePassword) {
  const RedisServer server({"--rename-command", "AUTH", ""});
  for (const std::string user : {"", "worker"}) {
    Client client(with_credentials(server, user + ":" + secret), patient());
    const Error error = thrown_by([&] { const Lock lock(client, "job"); });
    EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
    EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos) << error.what();
  }
}

TEST(ClientOldServersAuth, IsNeverAnsweredWithAnEchoOfThePassword) {
  // As Redis before 7 quotes the arguments of a command that it does not know.
  const ScriptedServer server([](const ScriptedRequest& request) {
    return request.is("AUTH")
               ? resp::error("ERR unknown command `AUTH`, with args beginning with: `" +
                             request.words.back() + "`, ")
               : resp::ok;
  });
  Client client("redis://:" + std::string(secret) + "@" + server.url().substr(8), patient());
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos) << error.what();
}

using ClientDatabase = ServerTest;

TEST_F(ClientDatabase, IsTheOneInTheUrl) {
  Client third(server.url() + "/3", patient());
  Client fifth(server.unix_url() + "?db=5", patient());
  const Lock lock(client, "job", std::try_to_lock);
  const Lock in_third(third, "job", std::try_to_lock);
  const Lock in_fifth(fifth, "job", std::try_to_lock);
  EXPECT_TRUE(lock && in_third && in_fifth);
  EXPECT_EQ(raw.get("job"), lock.token());
  raw.command({"SELECT", "3"});
  EXPECT_EQ(raw.get("job"), in_third.token());
  raw.command({"SELECT", "5"});
  EXPECT_EQ(raw.get("job"), in_fifth.token());
}

TEST_F(ClientDatabase, ThatDoesNotExistIsAnInvalidArgument) {
  for (const std::string& url : {server.url() + "/99", server.unix_url() + "?db=99"}) {
    Client nowhere(url, patient());
    const Error error = thrown_by([&] { const Lock lock(nowhere, "job"); });
    EXPECT_EQ(error.code(), Errc::invalid_argument) << error.what();
    EXPECT_EQ(error.server(), url);
  }
  EXPECT_EQ(raw.calls("set"), 0);
}

TEST_F(ClientDatabase, IsNamedInErrors) {
  Client third(server.url() + "/3", patient());
  server.kill();
  EXPECT_EQ(thrown_by([&] { third.ping(); }).server(), server.url() + "/3");
}

using ClientNameOption = ServerTest;

TEST_F(ClientNameOption, IsShownByTheServer) {
  ClientOptions options = patient();
  options.client_name = "billing-7";
  Client named(server.url(), options);
  named.ping();
  EXPECT_EQ(raw.clients("billing-7").size(), 1U);
}

TEST(ClientMaxClients, MakesTheServerUnreachable) {
  const RedisServer server({"--maxclients", "2"});
  RawClient first(server.socket());
  ASSERT_TRUE(eventually([&] { return first.info("clients", "connected_clients:") == 1; }));
  std::optional<RawClient> second(std::in_place, server.socket());
  second->command({"PING"});
  Client client(server.url(), patient());
  const Error error = thrown_by([&] { const Lock lock(client, "job"); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_EQ(error_of([&] { client.ping(); }), Errc::unreachable);
  second.reset();
  ASSERT_TRUE(eventually([&] { return first.info("clients", "connected_clients:") == 1; }));
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
}

/// It has a connection for commands, and gets none for messages to waiters.
TEST(ClientMaxClients, IsToldOfByAFairLockThatWaits) {
  RedisServer server;
  RawClient raw(server.socket());
  Diary diary([](const Event& event) { return event.kind == EventKind::connect_failed; });
  Client client(server.url(), diary.options(single()));
  std::optional<Lock> holder(std::in_place, client, "job", long_lease);
  raw.command({"CONFIG", "SET", "maxclients", "2"});
  const auto start = std::chrono::steady_clock::now();
  std::thread waiter([&] { EXPECT_TRUE(FairLock(client, "job", 60s, long_lease)); });
  EXPECT_TRUE(eventually([&] { return diary.events().size() >= 2; }));
  const auto seconds =
      std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
  const std::vector<Event> events = diary.events();
  EXPECT_LE(events.size(), static_cast<std::size_t>(seconds.count()));
  for (const Event& event : events) {
    EXPECT_EQ(event.error, Errc::unreachable);
    EXPECT_NE(event.detail.find("waiters get no messages: the server said \"ERR max number of "
                                "clients reached\"; raise its maxclients"),
              std::string::npos)
        << event.detail;
  }
  raw.command({"CONFIG", "SET", "maxclients", "100"});
  holder.reset();
  waiter.join();
}

TEST(ClientOfABusyServer, IsNoWrongPasswordNorDatabase) {
  for (const std::string command : {"AUTH", "SELECT"}) {
    const ScriptedServer server([&](const ScriptedRequest& request) {
      return request.is(command) ? resp::error("BUSY Redis is busy running a script.") : resp::ok;
    });
    Client client("redis://:pass@" + server.url().substr(8) + "/3", patient());
    const Error error = thrown_by([&] { client.ping(); });
    EXPECT_EQ(error.code(), Errc::not_writable) << error.what();
    EXPECT_EQ(std::string(error.what()).find("in the URL"), std::string::npos) << error.what();
  }
}

/// Answers the first that it is told with these bytes, and ends the connection.
Error said_by_a_server_that_answers(const std::string& bytes) {
  std::optional<ScriptedServer> server;
  server.emplace([&](const ScriptedRequest&) {
    server->close_after_answer();
    return bytes;
  });
  Client client(server->url(), less_patient());
  return thrown_by([&] { const Lock lock(client, "job"); });
}

TEST(ClientOfATlsPort, IsNamedWhenItAnswersWithAnAlert) {
  // A record with a fatal alert, protocol_version: RFC 8446, sections 5.1 and 6.
  for (const std::string& alert : {std::string("\x15\x03\x01\0\x02\x02\x46", 7),
                                   std::string("\x15\x03\x03\0\x02\x02\x0a", 7)}) {
    const Error error = said_by_a_server_that_answers(alert);
    EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
    EXPECT_FALSE(error.in_doubt());
    EXPECT_NE(std::string(error.what()).find("TLS"), std::string::npos) << error.what();
  }
}

/// As a server whose library has no alert for what is not TLS.
TEST(ClientOfATlsPort, IsNamedWhenItOnlyEndsTheConnection) {
  const Error error = said_by_a_server_that_answers("");
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("TLS"), std::string::npos) << error.what();
}

TEST(ClientOfATlsPort, IsNotNamedWhenTheServerHasAnsweredBefore) {
  const Error full =
      said_by_a_server_that_answers(resp::error("ERR max number of clients reached"));
  EXPECT_EQ(full.code(), Errc::unreachable);
  EXPECT_EQ(std::string(full.what()).find("TLS"), std::string::npos) << full.what();
  const Error half = said_by_a_server_that_answers(resp::ok);
  EXPECT_EQ(half.code(), Errc::unreachable);
  EXPECT_EQ(std::string(half.what()).find("TLS"), std::string::npos) << half.what();
}

TEST(ClientWithoutServer, IsUnreachable) {
  const TemporaryDirectory directory;
  for (const std::string& url :
       {"redis://127.0.0.1:" + std::to_string(free_port()),
        "redis://[::1]:" + std::to_string(free_port()), "unix://" + directory.path() + "/none"}) {
    Client client(url, patient());
    const Error error = thrown_by([&] { const Lock lock(client, "job"); });
    EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
    EXPECT_FALSE(error.in_doubt());
  }
}

}  // namespace login_test
}  // namespace redlatch::test
