// The connection breaks at every byte of every request and reply of an acquisition and its release.
// Whatever the byte: what is in doubt is cleaned up long before the ttl, no key of another
// client is touched, and the client goes on working.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include <redlatch/redlatch.hpp>

#include "eventually.hpp"
#include "proxy.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "stride.hpp"

namespace cut_test {

using namespace std::chrono_literals;
using redlatch::Client;
using redlatch::ClientOptions;
using redlatch::Error;
using redlatch::Lock;
using redlatch::Unlock;
using redlatch::test::eventually;
using redlatch::test::Proxy;
using redlatch::test::RawClient;
using redlatch::test::RedisServer;
using redlatch::test::stride;

enum class Tls { none, v1_2, v1_3 };

struct Campaign {
  const char* name;
  Proxy::Direction direction;
  Proxy::Manner manner;
  bool scripting;
  Tls tls = Tls::none;
};

/// The frame of a record: RFC 8446, sections 5.2 and 5.4, and RFC 5288, section 3.
std::size_t frame(Tls tls) {
  switch (tls) {
    case Tls::none:
      return 0;
    case Tls::v1_2:
      return 5 + 8 + 16;
    case Tls::v1_3:
      return 5 + 1 + 16;
  }
  return 0;
}

void PrintTo(const Campaign& campaign, std::ostream* out) { *out << campaign.name; }

class LockCutAtEveryByte : public testing::TestWithParam<Campaign> {
 protected:
  static constexpr auto ttl = 60s;  // nothing here is freed by expiry

  static ClientOptions options() {
    return {.connect_timeout = 5s,
            .command_timeout = 60ms,
            .connections = 1,
            .scripting = GetParam().scripting};
  }

  /// Logs in, so that what passes from here on is the acquisition and the release.
  std::unique_ptr<Client> connected() const {
    ClientOptions patient = options();
    patient.command_timeout = 10s;
    auto client = std::make_unique<Client>(url(), patient);
    client->ping();
    return client;
  }

  static std::size_t passed(const Proxy& proxy) { return proxy.passed(GetParam().direction); }

  /// All of one length, so that all cycles are.
  static std::string key_for(std::size_t byte, std::size_t attempt = 0) {
    return "cut:" + std::to_string(10000 + 1000 * attempt + byte);
  }

  void cut_at(std::size_t byte, std::size_t attempt);
  /// On a machine that is busy, a call may time out by itself, before it comes to the byte.
  void cut_once_at(std::size_t byte) {
    std::size_t attempt = 0;
    do {
      cut_at(byte, attempt);
    } while (!proxy_.struck() && !HasFailure() && ++attempt < 5);
    EXPECT_TRUE(proxy_.struck()) << "the fault did not land at byte " << byte;
  }

  static bool has_tls() { return GetParam().tls != Tls::none; }
  std::string url() const { return has_tls() ? proxy_.tls_url() : proxy_.url(); }

  RedisServer server_{RedisServer::WithTls{},
                      {"--tls-protocols", GetParam().tls == Tls::v1_2 ? "TLSv1.2" : "TLSv1.3",
                       "--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"}};
  RawClient stranger_{server_.socket()};
  Proxy proxy_{has_tls() ? ":" + std::to_string(server_.tls_port()) : server_.socket()};
  std::size_t in_doubt_ = 0;
};

void LockCutAtEveryByte::cut_at(std::size_t byte, std::size_t attempt) {
  const std::string key = key_for(byte, attempt);
  SCOPED_TRACE("cut after byte " + std::to_string(byte));
  proxy_.arm({GetParam().direction, byte, GetParam().manner});
  std::optional<Unlock> unlocked;
  {
    Client client(url(), options());
    Lock lock(client, key, std::defer_lock, {.ttl = ttl});
    try {
      ASSERT_TRUE(lock.try_lock()) << "no other client has it";
      unlocked = lock.unlock();
    } catch (const Error& error) {
      EXPECT_FALSE(lock.owns_lock());
      EXPECT_TRUE(error.code() == redlatch::Errc::unreachable ||
                  error.code() == redlatch::Errc::timed_out)
          << error.what();
      if (error.in_doubt()) {
        ++in_doubt_;
      } else {
        EXPECT_FALSE(stranger_.exists(key)) << "acted without a doubt";
      }
    }
    EXPECT_NE(unlocked, Unlock::lost);
    EXPECT_FALSE(unlocked == Unlock::released && stranger_.exists(key));
    proxy_.release();

    // Free by clean-up; a stranger takes it and must keep it, whatever is cleaned up later.
    EXPECT_TRUE(eventually([&] {
      return stranger_.command({"SET", key, "stranger", "NX", "PX", "60000"}).text == "OK";
    })) << "still held by "
        << stranger_.get(key);

    // The same client goes on, as soon as its clean-up leaves it the connection. The key is of this
    // cut alone: on a machine that is busy, a client may end before its last release is answered,
    // and leave a key to its ttl.
    Lock other(client, key + ":other", std::defer_lock, {.ttl = ttl});
    EXPECT_TRUE(eventually([&] {
      try {
        return other.try_lock();
      } catch (const Error&) {
        return false;
      }
    }));
    EXPECT_NE(other.unlock(), Unlock::lost);
  }  // the client waits for what is still open
  EXPECT_EQ(stranger_.get(key), "stranger");
}

TEST_P(LockCutAtEveryByte, LeavesNothingHeldAndNothingForeignDeleted) {
  const bool stalls = GetParam().manner == Proxy::Manner::stall;
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t handshake = 0;
  {
    // Without a fault, to learn how many bytes there are.
    const std::unique_ptr<Client> client = connected();
    const std::size_t greeted = passed(proxy_);
    Lock lock(*client, key_for(0), {.ttl = ttl});
    ASSERT_EQ(lock.unlock(), Unlock::released);
    last = passed(proxy_);
    // A login that stalls costs all of connect_timeout and leaves nothing to doubt.
    if (stalls) first = greeted;
    std::size_t ping = GetParam().direction == Proxy::Direction::request ? 14 : 7;
    ping += frame(GetParam().tls);
    if (has_tls()) handshake = greeted - ping;
    last -= ping;  // the campaign has no PING in it
    if (stalls) first -= ping;
  }
  // The proxy only cuts what passes: with the last byte through, the cycle is over. Of a handshake
  // not every byte is tried, as it leaves nothing to doubt.
  std::size_t positions = 0;
  const std::size_t step = stride(last - std::max(first, handshake));
  for (std::size_t byte = first; byte < last && !HasFailure();
       byte += byte < handshake ? 29 : step) {
    cut_once_at(byte);
    ++positions;
  }

  std::cout << "positions cut: " << positions << ", acquisitions in doubt: " << in_doubt_
            << ", violations: " << (HasFailure() ? "see above" : "0") << '\n';
  EXPECT_GT(positions, 5u);
  EXPECT_GT(in_doubt_, 0u);
}

constexpr auto request = Proxy::Direction::request;
constexpr auto reply = Proxy::Direction::reply;

INSTANTIATE_TEST_SUITE_P(
    Lock, LockCutAtEveryByte,
    testing::Values(Campaign{"RequestClosed", request, Proxy::Manner::close, true},
                    Campaign{"ReplyClosed", reply, Proxy::Manner::close, true},
                    Campaign{"RequestReset", request, Proxy::Manner::reset, true},
                    Campaign{"ReplyReset", reply, Proxy::Manner::reset, true},
                    Campaign{"RequestStalled", request, Proxy::Manner::stall, true},
                    Campaign{"ReplyStalled", reply, Proxy::Manner::stall, true},
                    Campaign{"TlsRequestClosed", request, Proxy::Manner::close, true, Tls::v1_3},
                    Campaign{"TlsReplyClosed", reply, Proxy::Manner::close, true, Tls::v1_3},
                    Campaign{"TlsReplyReset", reply, Proxy::Manner::reset, true, Tls::v1_3},
                    Campaign{"TlsRequestStalled", request, Proxy::Manner::stall, true, Tls::v1_3},
                    Campaign{"TlsReplyStalled", reply, Proxy::Manner::stall, true, Tls::v1_3},
                    Campaign{"Tls12RequestClosed", request, Proxy::Manner::close, true, Tls::v1_2},
                    Campaign{"Tls12ReplyClosed", reply, Proxy::Manner::close, true, Tls::v1_2},
                    Campaign{"Tls12RequestStalled", request, Proxy::Manner::stall, true, Tls::v1_2},
                    Campaign{"Tls12ReplyStalled", reply, Proxy::Manner::stall, true, Tls::v1_2},
                    Campaign{"WithoutScriptsRequestClosed", request, Proxy::Manner::close, false},
                    Campaign{"WithoutScriptsReplyClosed", reply, Proxy::Manner::close, false},
                    Campaign{"WithoutScriptsRequestStalled", request, Proxy::Manner::stall, false},
                    Campaign{"WithoutScriptsReplyStalled", reply, Proxy::Manner::stall, false}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace cut_test
