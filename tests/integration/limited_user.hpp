#pragma once

#include <string>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {

/// A server with a user who may do only some things, and clients of theirs.
class LimitedUserTest : public ServerTest {
 protected:
  /// The only rights there are from now on, as in ACL SETUSER: {"+set", "~lock:*"}.
  void allow(const std::vector<std::string>& rights) {
    std::vector<std::string> words{"ACL", "SETUSER", "worker", "reset", "on", ">secret"};
    words.insert(words.end(), rights.begin(), rights.end());
    const RawReply reply = raw.command(words);
    ASSERT_EQ(reply.text, "OK");
  }

  Client user(ClientOptions options = patient()) const {
    return Client("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()),
                  std::move(options));
  }

  /// One life of a lock: taken, refused to another, extended, verified and given back.
  static void live_with(Client& client, const std::string& key) {
    Lock lock(client, key, long_lease);
    EXPECT_FALSE(Lock(client, key, 20ms));
    EXPECT_TRUE(lock.extend());
    EXPECT_TRUE(lock.verify());
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_TRUE(Lock(client, key, std::try_to_lock));
  }
};

}  // namespace redlatch::test
