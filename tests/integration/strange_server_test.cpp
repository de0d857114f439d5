#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace strange_server_test {

/// Answers one acquisition as a test says, and everything else as a good server would.
class ClientOfAStrangeServer : public testing::Test {
 protected:
  std::string answer(const ScriptedRequest& request) {
    if (request.is("SET")) return first_set.exchange(false) ? to_first_set(request) : resp::ok;
    if (request.is("EVALSHA") || request.is("EVAL")) return resp::integer(1);
    return resp::ok;
  }
  void first_set_gets(std::function<std::string(const ScriptedRequest&)> what) {
    const auto held = server.hold();
    to_first_set = std::move(what);
  }
  void first_set_gets(const std::string& what) {
    first_set_gets([what](const ScriptedRequest&) { return what; });
  }

  std::vector<ScriptedRequest> all(const char* name) const {
    std::vector<ScriptedRequest> found;
    for (const ScriptedRequest& request : server.requests()) {
      if (request.is(name)) found.push_back(request);
    }
    return found;
  }
  /// The token of the first acquisition was released, by a script in this form.
  bool is_taken_back(const char* form) const {
    return eventually([&] {
      const std::string token = all("SET").front().words[2];
      for (const ScriptedRequest& request : all(form)) {
        if (request.words.back() == token) return true;
      }
      return false;
    });
  }

  std::atomic<bool> first_set = true;
  std::function<std::string(const ScriptedRequest&)> to_first_set{
      [](const ScriptedRequest&) { return resp::ok; }};
  ScriptedServer server{[this](const ScriptedRequest& request) { return answer(request); }};
  Client client{server.url(), {.connect_timeout = 20s, .command_timeout = 1s}};
  Lock lock{client, "job", std::defer_lock, long_lease};
};

TEST_F(ClientOfAStrangeServer, IsToldExactlyWhatTheConventionSays) {
  Lock own(client, "job", {.ttl = 5s});
  EXPECT_EQ(all("SET").front().words,
            (std::vector<std::string>{"SET", "job", own.token(), "NX", "PX", "5000"}));
}

/// The wait is too short for an answer to SUBSCRIBE, of which the server is not to blame.
TEST_F(ClientOfAStrangeServer, ThatIsGivenTooLittleTimeToSubscribeIsNoFailureToConnect) {
  const ScriptedServer slow([](const ScriptedRequest& request) {
    if (request.is("CLIENT") || request.is("SUBSCRIBE")) return std::string();
    if (request.is("PTTL")) return resp::integer(60'000);
    return request.is("SET") ? resp::nil : resp::status("string");
  });
  Client waits(slow.url(), patient());
  EXPECT_FALSE(Lock(waits, "job", 50ms));
  EXPECT_GE(slow.count("SUBSCRIBE") + slow.count("CLIENT"), 1U);
  EXPECT_EQ(waits.metrics().connect_failed, 0U);
}

TEST_F(ClientOfAStrangeServer, ThatSpeaksAnotherProtocolIsAProtocolError) {
  const ScriptedServer web(
      [](const ScriptedRequest&) { return "HTTP/1.1 400 Bad Request\r\n\r\n"; });
  Client browser(web.url(), patient());
  const Error error = thrown_by([&] { const Lock never(browser, "job"); });
  EXPECT_EQ(error.code(), Errc::protocol_error) << error.what();
  EXPECT_FALSE(error.in_doubt());
}

TEST_F(ClientOfAStrangeServer, ThatAnswersWithGarbageLeavesADoubtThatIsCleanedUp) {
  first_set_gets("garbage\r\n");
  const Error error = thrown_by([&] { lock.lock(); });
  EXPECT_EQ(error.code(), Errc::protocol_error) << error.what();
  EXPECT_TRUE(error.in_doubt());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(is_taken_back("EVALSHA"));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_NE(all("SET").back().connection, all("SET").front().connection);
}

TEST_F(ClientOfAStrangeServer, ThatAnswersWithAnotherKindLeavesADoubtThatIsCleanedUp) {
  for (const std::string& kind :
       {resp::integer(1), resp::bulk("OK"), resp::status("QUEUED"), resp::array({resp::ok})}) {
    const ScriptedServer other([&](const ScriptedRequest& request) {
      if (request.is("SET")) return kind;
      return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
    });
    Client confused(other.url(), patient());
    const Error error = thrown_by([&] { const Lock never(confused, "job"); });
    EXPECT_EQ(error.code(), Errc::protocol_error) << kind << error.what();
    EXPECT_TRUE(error.in_doubt()) << kind;
    EXPECT_TRUE(eventually([&] { return other.count("EVALSHA") > 0; })) << kind;
  }
}

TEST_F(ClientOfAStrangeServer, ThatSpeaksResp3IsAProtocolError) {
  for (const char* kind : {"_\r\n", "#t\r\n", "%1\r\n+a\r\n+b\r\n", ",1.5\r\n", "(123\r\n",
                           "=7\r\ntxt:abc\r\n", "~1\r\n+OK\r\n", ">1\r\n+OK\r\n"}) {
    const ScriptedServer modern([kind](const ScriptedRequest& request) {
      if (request.is("SET")) return std::string(kind);
      return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
    });
    Client old(modern.url(), patient());
    EXPECT_EQ(error_of([&] { const Lock never(old, "job"); }), Errc::protocol_error) << kind;
  }
}

TEST_F(ClientOfAStrangeServer, ThatSpeaksUnaskedIsNotTakenAtItsWord) {
  lock.lock();
  const std::size_t connection = all("SET").front().connection;
  server.say(connection, resp::integer(1));
  EXPECT_TRUE(lock.extend());
  EXPECT_NE(all("EVALSHA").front().connection, connection);
}

TEST_F(ClientOfAStrangeServer, ThatAnswersTwiceIsNotTakenAtItsSecondWord) {
  first_set_gets(resp::nil + resp::ok);
  EXPECT_FALSE(lock.try_lock());
  first_set = true;
  first_set_gets(resp::nil);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_NE(all("SET").back().connection, all("SET").front().connection);
}

TEST_F(ClientOfAStrangeServer, ThatIsSilentGetsTheReleaseBehindOnTheSameConnection) {
  first_set_gets("");
  const Error error = thrown_by([&] { lock.lock(); });
  EXPECT_EQ(error.code(), Errc::timed_out) << error.what();
  EXPECT_TRUE(error.in_doubt());
  ASSERT_TRUE(is_taken_back("EVALSHA"));
  const ScriptedRequest release = all("EVALSHA").front();
  EXPECT_EQ(release.connection, all("SET").front().connection);
  EXPECT_EQ(release.words[3], "job");
  lock.lock();
  EXPECT_NE(all("SET").back().connection, release.connection) << "it is used for nothing else";
}

TEST_F(ClientOfAStrangeServer, ThatHangsUpAfterTheCommandGetsTheReleaseOnANewConnectionTwice) {
  std::atomic<int> releases = 0;
  ScriptedServer* self = nullptr;
  ScriptedServer other([&](const ScriptedRequest& request) {
    if (request.is("SET")) {
      self->close_after_answer();
      return std::string();
    }
    if (!request.is("EVALSHA")) return resp::ok;
    ++releases;
    return resp::integer(0);  // not yet: what was sent before the break may still be read
  });
  self = &other;
  Client cut_off(other.url(), {.connect_timeout = 20s, .command_timeout = 1s});
  const Error error = thrown_by([&] { const Lock never(cut_off, "job", long_lease); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_TRUE(error.in_doubt());
  EXPECT_TRUE(eventually([&] { return releases >= 2; }));
}

TEST_F(ClientOfAStrangeServer, ThatHangsUpAtTheGreetingIsUnreachable) {
  ScriptedServer* self = nullptr;
  ScriptedServer other([&](const ScriptedRequest&) {
    self->close_after_answer();
    return std::string();
  });
  self = &other;
  Client client_of_other(other.url(), patient());
  const Error error = thrown_by([&] { const Lock never(client_of_other, "job"); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_FALSE(error.in_doubt());
}

TEST_F(ClientOfAStrangeServer, ThatDripsItsAnswersIsUnderstood) {
  ScriptedServer* self = nullptr;
  ScriptedServer dripping([&](const ScriptedRequest& request) {
    std::string answer = request.is("EVALSHA") ? resp::integer(1) : resp::ok;
    if (request.is("GETRANGE")) answer = resp::bulk(self->requests().back().words[1]);
    for (const char byte : answer) {
      self->say(request.connection, std::string(1, byte));
      std::this_thread::yield();
    }
    return std::string();
  });
  self = &dripping;
  Client client_of_dripping(dripping.url(), patient());
  Lock own(client_of_dripping, "job", long_lease);
  EXPECT_TRUE(own.extend());
  EXPECT_FALSE(own.verify()) << "the answer is the key, not the token";
}

TEST_F(ClientOfAStrangeServer, ThatAnnouncesAHugeAnswerIsWaitedForOnlySoLong) {
  first_set_gets("$1000000000\r\n");
  const std::error_code error = error_of([&] { lock.lock(); });
  EXPECT_TRUE(error == Errc::timed_out || error == Errc::protocol_error) << error;
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(ClientOfAStrangeServer, ThatSendsAHugeAnswerIsAProtocolError) {
  first_set_gets(resp::bulk(std::string(8 << 20, 'x')));
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::protocol_error);
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(ClientOfAStrangeServer, ThatAnnouncesAHugeArrayIsAProtocolError) {
  first_set_gets("*1000000000\r\n");
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::protocol_error);
}

TEST_F(ClientOfAStrangeServer, WithAnUnknownErrorIsAProtocolErrorWithItsText) {
  first_set_gets(resp::error("ODD the moon is full"));
  const Error error = thrown_by([&] { lock.lock(); });
  EXPECT_EQ(error.code(), Errc::protocol_error);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("ODD the moon is full"), std::string::npos);
}

TEST_F(ClientOfAStrangeServer, WithAnErrorOfAClusterIsNotWritable) {
  first_set_gets(resp::error("CLUSTERDOWN The cluster is down"));
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::not_writable);
  first_set = true;
  first_set_gets(resp::error("TRYAGAIN Multiple keys request during rehashing of slot"));
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::not_writable);
}

TEST_F(ClientOfAStrangeServer, MakesNoLeaseValidForLongerByAnsweringLate) {
  std::atomic<std::chrono::steady_clock::time_point> asked{};
  first_set_gets([&](const ScriptedRequest&) {
    asked = std::chrono::steady_clock::now();
    return resp::ok;  // so validity must have begun before
  });
  Lock slow(client, "job", {.ttl = 10s});
  EXPECT_LE(slow.expires_at(), asked.load() + 10s - 102ms);
}

TEST_F(ClientOfAStrangeServer, ThatAnswersWhenTheLeaseIsOverGivesNoLock) {
  constexpr std::chrono::milliseconds ttl = 50ms;
  first_set_gets([ttl](const ScriptedRequest&) {
    // The end of the lease is a time, of which no server sends word.
    std::this_thread::sleep_until(std::chrono::steady_clock::now() + ttl);
    return resp::ok;
  });
  const Error error = thrown_by([&] { const Lock never(client, "job", {.ttl = ttl}); });
  EXPECT_EQ(error.code(), Errc::timed_out) << error.what();
  EXPECT_TRUE(error.in_doubt());
  EXPECT_TRUE(is_taken_back("EVALSHA"));
}

}  // namespace strange_server_test
}  // namespace redlatch::test
