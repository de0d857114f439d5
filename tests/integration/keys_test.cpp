#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/side_key.hpp>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace keys_test {

/// Every key is taken, contended for, extended, verified and given back.
class LockKeys : public ServerTest {
 protected:
  void live_with(const std::string& key) {
    Lock lock(client, key, long_lease);
    EXPECT_EQ(lock.key(), key);
    EXPECT_EQ(raw.command({"KEYS", "*"}).elements.at(0).text, key);
    EXPECT_EQ(raw.get(key), lock.token());
    EXPECT_FALSE(Lock(client, key, 20ms));
    EXPECT_TRUE(lock.extend());
    EXPECT_TRUE(lock.verify());
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_FALSE(raw.exists(key));
  }
};

TEST_F(LockKeys, MayHoldSpaces) { live_with("a job with spaces "); }

TEST_F(LockKeys, MayHoldNulBytes) { live_with(std::string("job\0with\0nul\0", 13)); }

TEST_F(LockKeys, MayHoldLineEnds) { live_with("job\r\n$3\r\nDEL\r\n"); }

TEST_F(LockKeys, MayHoldEveryByte) {
  std::string key;
  for (int byte = 0; byte < 256; ++byte) key += static_cast<char>(byte);
  live_with(key);
}

TEST_F(LockKeys, MayHave512Bytes) { live_with(std::string(512, 'k')); }

TEST_F(LockKeys, MayHave100Kilobytes) { live_with(std::string(100 * 1024, 'k')); }

TEST_F(LockKeys, ThatShareAPrefixAreNotTheSame) {
  const Lock one(client, std::string("job\0a", 5), std::try_to_lock);
  const Lock other(client, std::string("job\0b", 5), std::try_to_lock);
  const Lock prefix(client, "job", std::try_to_lock);
  EXPECT_TRUE(one && other && prefix);
}

TEST_F(LockKeys, AreShownInPrintableForm) {
  const std::string key("a\0b\r\n\"c\"\xff", 9);
  raw.command({"LPUSH", key, "work"});
  const Error error = thrown_by([&] { const Lock lock(client, key); });
  const std::string text = error.what();
  EXPECT_NE(text.find(R"(a\x00b\x0d\x0a\x22c\x22\xff)"), std::string::npos) << text;
}

TEST_F(LockKeys, ThatAreEmptyAreRefused) {
  EXPECT_EQ(error_of([&] { const Lock lock(client, "", std::defer_lock); }),
            Errc::invalid_argument);
  EXPECT_EQ(error_of([&] { const Lock lock(client, "", std::try_to_lock); }),
            Errc::invalid_argument);
}

/// A single attempt that fails looks at what holds the key.
class LockAttempts : public ServerTest {
 protected:
  template <class L>
  void fail_for_what_is_no_lock(LockOptions options) {
    raw.command({"DEL", "job"});
    raw.command({"HSET", "job", "field", "value"});
    L lock(client, "job", std::defer_lock, options);
    const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
    EXPECT_EQ(error.code(), Errc::wrong_type) << error.what();
    EXPECT_NE(std::string(error.what()).find("the key holds a hash"), std::string::npos);
    EXPECT_EQ(error_of([&] { const L other(client, "job", std::try_to_lock, options); }),
              Errc::wrong_type);
    EXPECT_EQ(error_of([&] { const L other(client, "job", 0s, options); }), Errc::wrong_type);
    EXPECT_EQ(raw.command({"HLEN", "job"}).integer, 1);
  }
};

TEST_F(LockAttempts, FailForWhatIsNoLock) {
  fail_for_what_is_no_lock<Lock>({});
  fail_for_what_is_no_lock<Lock>({.fencing = true});
  fail_for_what_is_no_lock<FairLock>({});
}

TEST_F(LockAttempts, AskForTheKindOncePerObjectAndNeverWhenTheyAreSuccessful) {
  const Lock holder(client, "job", std::try_to_lock, long_lease);
  EXPECT_EQ(raw.calls("type"), 0);
  Lock lock(client, "job", std::defer_lock);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(raw.calls("type"), 1);
  EXPECT_FALSE(ReadLock(client, "reading", std::try_to_lock) &&
               WriteLock(client, "reading", std::try_to_lock));
  EXPECT_EQ(raw.calls("type"), 1) << "their script has seen it already";
}

TEST(LockAttemptsWhoseKindIsNotKnown, AreFalse) {
  enum class Then { refused, silent, gone };
  for (const Then then : {Then::refused, Then::silent, Then::gone}) {
    std::optional<ScriptedServer> server;
    server.emplace([&](const ScriptedRequest& request) {
      if (request.is("SET")) return resp::nil;
      if (!request.is("TYPE")) return resp::ok;
      if (then == Then::gone) server->close_after_answer();
      return then == Then::refused ? resp::error("NOPERM no") : std::string();
    });
    Client client(server->url(), {.connect_timeout = 20s, .command_timeout = 1s});
    EXPECT_FALSE(Lock(client, "job", std::try_to_lock));
    EXPECT_EQ(server->count("TYPE"), 1U);
  }
}

/// A cluster of one server, which refuses a script whose keys are in different slots.
class LockClusterKeys : public testing::Test {
 protected:
  /// Takes two seconds.
  void serve_all_slots() {
    raw.command({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"});
    EXPECT_TRUE(eventually([&] {
      return raw.command({"CLUSTER", "INFO"}).text.find("cluster_state:ok") != std::string::npos;
    }));
  }
  std::int64_t slot(const std::string& key) {
    return raw.command({"CLUSTER", "KEYSLOT", key}).integer;
  }
  /// Any bytes, with braces among them.
  static std::string odd_key(std::minstd_rand& random) {
    constexpr std::string_view frequent = "{}{}ab";
    std::string key(1 + random() % 12, '\0');
    for (char& c : key) {
      c = random() % 4 != 0 ? frequent[random() % frequent.size()]
                            : static_cast<char>(random() % 256);
    }
    return key;
  }

  RedisServer server{{"--cluster-enabled", "yes", "--cluster-port", std::to_string(free_port())}};
  RawClient raw{server.socket()};
};

TEST_F(LockClusterKeys, HaveTheSlotOfTheKeysThatBelongToThem) {
  constexpr unsigned seed = 20261129;
  std::minstd_rand random(seed);
  for (int i = 0; i < 5'000; ++i) {
    const std::string key = odd_key(random);
    ASSERT_EQ(slot(protocol::side_key(key, "queue")), slot(key)) << protocol::printable(key);
    ASSERT_EQ(slot(protocol::side_key(key, "fence")), slot(key)) << protocol::printable(key);
  }
}

TEST_F(LockClusterKeys, WithOddBracesAreWaitedForAndDrawNumbers) {
  serve_all_slots();
  Client client(server.url(), patient());
  Client other(server.url(), patient());
  for (const std::string key : {"a}b", "{}a", "}{", "job{", "{}", "}", "{}{a}", "{a}b", "a b"}) {
    FairLock lock(client, key, {.ttl = 60s, .fencing = true});
    EXPECT_FALSE(Lock(other, key, 30ms)) << key;
    EXPECT_EQ(error_of([&] { EXPECT_FALSE(FairLock(other, key, 30ms)); }), std::error_code());
    EXPECT_GT(lock.fencing_token(), 0U);
    EXPECT_EQ(lock.unlock(), Unlock::released) << key;
    EXPECT_EQ(WriteLock(client, key + "/data", long_lease).unlock(), Unlock::released) << key;
    EXPECT_EQ(MultiLock(client, {key}, long_lease).unlock(), Unlock::released) << key;
  }
}

TEST_F(LockClusterKeys, InSeveralSlotsAreNotLockedTogether) {
  serve_all_slots();
  Client client(server.url(), patient());
  const Error error = thrown_by([&] { const MultiLock lock(client, {"a", "b"}); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("same hash tag"), std::string::npos) << error.what();
}

/// What a stranger has put into the key of a lock, with scripts and without.
class LockStrangersValue : public ServerTest, public testing::WithParamInterface<bool> {
 protected:
  static ClientOptions options() {
    ClientOptions options = patient();
    options.scripting = GetParam();
    options.connections = 1;
    return options;
  }
  /// Each question about the lock is a no, which breaks no connection.
  void is_not_ours(const std::string& value) {
    const auto put = [&] { raw.command({"SET", "job", value, "PX", "500000"}); };
    for (int i = 0; i < 3; ++i) {
      Lock lock(worker, "job", long_lease);
      put();
      EXPECT_FALSE(i == 0 && lock.verify());
      EXPECT_FALSE(i == 1 && lock.extend());
      EXPECT_EQ(lock.unlock(), Unlock::lost);
      EXPECT_TRUE(raw.get("job") == value);
      EXPECT_GT(raw.pttl("job"), 400'000);
      raw.command({"DEL", "job"});
    }
    EXPECT_EQ(worker.metrics().disconnected, 0U);
  }

  Client worker{server.url(), options()};
};
INSTANTIATE_TEST_SUITE_P(Scripting, LockStrangersValue, testing::Bool());

TEST_P(LockStrangersValue, MayBeLong) { is_not_ours(std::string(3 << 20, 'x')); }

TEST_P(LockStrangersValue, MayBeEmpty) { is_not_ours({}); }

TEST_P(LockStrangersValue, MayBeginLikeOurs) {
  Lock lock(worker, "job", long_lease);
  raw.command({"APPEND", "job", std::string(3 << 20, 'x')});
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_GT(raw.command({"STRLEN", "job"}).integer, 3 << 20);
  EXPECT_EQ(worker.metrics().disconnected, 0U);
}

using LockTtl = ServerTest;

TEST_F(LockTtl, UnderTenMillisecondsIsRefused) {
  for (const auto ttl : {9ms, 0ms, -1ms, std::chrono::milliseconds::min()}) {
    EXPECT_EQ(error_of([&] { const Lock lock(client, "job", std::defer_lock, {.ttl = ttl}); }),
              Errc::invalid_argument)
        << ttl.count();
  }
}

TEST_F(LockTtl, OfTenMillisecondsIsGood) {
  Lock lock(client, "job", std::defer_lock, {.ttl = 10ms});
  // A slow machine may take longer than this lease lasts, which it says.
  if (const std::error_code error = error_of([&] { lock.lock(); }); error) {
    EXPECT_EQ(error, Errc::timed_out);
  }
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  EXPECT_FALSE(lock.owns_lock());
}

TEST_F(LockTtl, OfYearsIsGood) {
  const Lock lock(client, "job", std::try_to_lock, {.ttl = std::chrono::years(50)});
  EXPECT_GT(lock.remaining(), std::chrono::years(49));
  EXPECT_GT(std::chrono::milliseconds(raw.pttl("job")), std::chrono::years(49));
}

TEST(LockOptionsOfAKey, OfAClientThatCannotWorkAreRefused) {
  const auto refusal = [](const ClientOptions& options) {
    return error_of([&] { const Client client("redis://127.0.0.1", options); });
  };
  EXPECT_EQ(refusal({.connect_timeout = 0ms}), Errc::invalid_argument);
  EXPECT_EQ(refusal({.connect_timeout = -1ms}), Errc::invalid_argument);
  EXPECT_EQ(refusal({.command_timeout = 0ms}), Errc::invalid_argument);
  EXPECT_EQ(refusal({.command_timeout = -1ms}), Errc::invalid_argument);
  EXPECT_EQ(refusal({.connections = 0}), Errc::invalid_argument);
  EXPECT_EQ(refusal({.client_name = "two words"}), Errc::invalid_argument);
  EXPECT_EQ(refusal({}), std::error_code());
}

}  // namespace keys_test
}  // namespace redlatch::test
