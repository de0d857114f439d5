#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "child.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace credentials_test {

constexpr const char* secret = "hunter2-is-planted";

/// What a program gives as `ClientOptions::credentials`: the password can change, and calls can
/// hang until the object goes.
class Vault {
 public:
  explicit Vault(std::string password) { set(std::move(password)); }
  Vault(const Vault&) = delete;
  Vault& operator=(const Vault&) = delete;
  ~Vault() { answer(); }

  std::function<Credentials()> function() {
    return [state = state_] {
      std::unique_lock lock(state->mutex);
      ++state->calls;
      ++state->hanging;
      state->changed.wait(lock, [&] { return !state->hangs; });
      --state->hanging;
      return Credentials{.user = "worker", .password = state->password};
    };
  }
  void set(std::string password) {
    const std::lock_guard lock(state_->mutex);
    state_->password = std::move(password);
  }
  void hang() {
    const std::lock_guard lock(state_->mutex);
    state_->hangs = true;
  }
  void answer() {
    const std::lock_guard lock(state_->mutex);
    state_->hangs = false;
    state_->changed.notify_all();
  }
  int calls() const {
    const std::lock_guard lock(state_->mutex);
    return state_->calls;
  }
  bool is_hanging() const {
    const std::lock_guard lock(state_->mutex);
    return state_->hanging > 0;
  }

 private:
  struct State {
    std::mutex mutex{};
    std::condition_variable changed{};
    std::string password{};
    int calls = 0;
    int hanging = 0;
    bool hangs = false;
  };

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class ClientCredentials : public testing::Test {
 protected:
  ClientCredentials() { set_password("first"); }

  void set_password(const std::string& password) {
    admin.command({"ACL", "SETUSER", "worker", "reset", "on", ">" + password, "~*", "&*", "+@all"});
  }
  ClientOptions options(std::size_t connections = 4) {
    ClientOptions options = patient();
    options.connections = connections;
    options.credentials = vault.function();
    return options;
  }

  RedisServer server{};
  RawClient admin{server.socket()};
  Vault vault{"first"};
};

TEST_F(ClientCredentials, AreThoseOfTheFunctionAndNotOfTheUrl) {
  Client client("redis://worker:wrong@127.0.0.1:" + std::to_string(server.port()), options());
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
}

TEST_F(ClientCredentials, AreAskedForAtEachLogIn) {
  Client client(server.url(), options(1));
  client.ping();
  set_password("second");
  vault.set("second");
  admin.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
  EXPECT_EQ(vault.calls(), 2);
}

TEST_F(ClientCredentials, MayChangeAtTheServerWhileLocksAreHeld) {
  Client client(server.url(), options());
  Lock lock(client, "job", {.ttl = 2s});
  set_password("second");
  vault.set("second");
  admin.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  const auto renewed = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= renewed + 2; }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientCredentials, ThatAreRefusedAreAnErrorWithoutThePassword) {
  vault.set(secret);
  Client client(server.url(), options());
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(std::string(error.what()).find("ClientOptions::credentials"), std::string::npos);
  EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos) << error.what();
}

TEST_F(ClientCredentials, EndInAnErrorWithTheTextOfTheException) {
  ClientOptions throwing = patient();
  throwing.credentials = []() -> Credentials { throw std::runtime_error("the vault is sealed"); };
  Client client(server.url(), throwing);
  const Error error = thrown_by([&] { const Lock lock(client, "job"); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("the vault is sealed"), std::string::npos)
      << error.what();
}

TEST_F(ClientCredentials, WithoutAPasswordAreAnErrorAndNotTheDefaultUser) {
  vault.set("");
  Client client("redis://worker:first@127.0.0.1:" + std::to_string(server.port()), options());
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(std::string(error.what())
                .find("ClientOptions::credentials has given no password; let it throw where "
                      "there is none, or leave the option out"),
            std::string::npos)
      << error.what();
}

TEST_F(ClientCredentials, ThatThrowSomethingElseAreAnErrorToo) {
  ClientOptions throwing = patient();
  throwing.credentials = []() -> Credentials { throw 1; };
  Client client(server.url(), throwing);
  EXPECT_EQ(thrown_by([&] { client.ping(); }).code(), Errc::authentication_failed);
}

TEST_F(ClientCredentials, ThatDoNotComeAreWaitedForDuringConnectTimeout) {
  vault.hang();
  ClientOptions hurried = options();
  hurried.connect_timeout = 100ms;
  Client client(server.url(), hurried);
  const Error error = thrown_by([&] { client.ping(); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(std::string(error.what())
                .find("ClientOptions::credentials has not returned within connect_timeout; "
                      "make that longer, or see what the function waits for"),
            std::string::npos)
      << error.what();
  EXPECT_TRUE(eventually([&] { return vault.calls() == 1; })) << "on a thread of its own";
  EXPECT_THROW(client.ping(), Error);
  EXPECT_EQ(vault.calls(), 1) << "a second call beside the one that hangs";
  vault.answer();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
}

TEST_F(ClientCredentials, ThatDoNotComeDelayNoRenewalOnAnotherConnection) {
  Client client(server.url(), options(2));
  std::vector<std::unique_ptr<Lock>> locks;
  for (int i = 0; i < 8; ++i) {
    locks.push_back(
        std::make_unique<Lock>(client, "job" + std::to_string(i), LockOptions{.ttl = 2s}));
  }
  vault.hang();
  // One of the two connections is closed: the first that the server lists.
  const std::string list = admin.command({"CLIENT", "LIST"}).text;
  const std::size_t at = list.find("user=worker");
  ASSERT_NE(at, std::string::npos);
  const std::size_t line = list.rfind("id=", at);
  admin.command({"CLIENT", "KILL", "ID", list.substr(line + 3, list.find(' ', line) - line - 3)});
  ASSERT_TRUE(eventually([&] { return vault.is_hanging(); }));
  const auto renewed = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= renewed + 8; }));
  EXPECT_TRUE(
      std::any_of(locks.begin(), locks.end(), [](auto& lock) { return lock->owns_lock(); }));
  vault.answer();
}

TEST_F(ClientCredentials, AreNotWaitedForAtTheEndOfAClient) {
  vault.hang();
  ClientOptions hurried = options();
  hurried.connect_timeout = 50ms;
  {
    Client client(server.url(), hurried);
    EXPECT_THROW(client.ping(), Error);
  }
  EXPECT_TRUE(vault.is_hanging());
}

TEST_F(ClientCredentials, OfAForkedChildAreAskedForAnew) {
  Client client(server.url(), options());
  vault.hang();
  std::jthread asking([&] { client.ping(); });
  ASSERT_TRUE(eventually([&] { return vault.is_hanging(); }));
  EXPECT_EQ(in_child([&] {
              ClientOptions own = patient();
              own.credentials = [] { return Credentials{.user = "worker", .password = "first"}; };
              Client fresh(server.url(), own);
              fresh.ping();
              return 0;
            }),
            0);
  vault.answer();
}

TEST(ClientLoginThatExpires, IsRepeatedWithTheCredentialsOfThatMoment) {
  std::atomic<int> logins = 0;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("AUTH")) {
      EXPECT_EQ(request.words.back(), "token" + std::to_string(logins));
      return resp::ok;
    }
    if (request.is("SET")) {
      return request.connection == 1 ? resp::error("NOAUTH Authentication required.") : resp::ok;
    }
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  ClientOptions options = single();
  options.credentials = [&] {
    return Credentials{.user = {}, .password = "token" + std::to_string(++logins)};
  };
  Client client(server.url(), options);
  client.ping();
  // A connection that is only just open is kept: another would be refused in the same way.
  EXPECT_TRUE(eventually([&] {
    Lock lock(client, "job", std::defer_lock);
    return !error_of([&] { static_cast<void>(lock.try_lock()); }) && lock.owns_lock();
  }));
  EXPECT_EQ(logins, 2);
}

}  // namespace credentials_test
}  // namespace redlatch::test
