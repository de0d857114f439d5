#include "mishap.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <redlatch/protocol/side_key.hpp>

#include "eventually.hpp"
#include "raw_client.hpp"

namespace redlatch::test {
namespace {

class Meddler {
 public:
  Meddler(const RedisServer& server, const std::string& key)
      : raw_(server.socket()), key_(key), counter_(protocol::side_key(key, "fence")) {}

  /// No other client's command comes between the question and the deed.
  bool does_while_held(const std::vector<std::vector<std::string>>& commands) {
    raw_.command({"MULTI"});
    raw_.command({"EXISTS", key_});
    for (const auto& command : commands) raw_.command(command);
    const std::vector<RawReply> replies = raw_.command({"EXEC"}).elements;
    const auto good = [](const RawReply& reply) {
      return reply.integer == 1 || reply.text == "OK";
    };
    return !replies.empty() && std::all_of(replies.begin(), replies.end(), good);
  }
  bool deletes_counter() { return does_while_held({{"DEL", counter_}}); }
  bool expires_counter() {
    // No client makes a new one before it was seen to be gone.
    const bool done =
        does_while_held({{"PEXPIRE", counter_, "1"}, {"CLIENT", "PAUSE", "60000", "WRITE"}});
    const bool gone = counter_is_gone();
    raw_.command({"CLIENT", "UNPAUSE"});
    return done && gone;
  }
  bool evicts_counter() {
    const std::int64_t before = evicted();
    const bool done = does_while_held({{"EXISTS", counter_}, {"CONFIG", "SET", "maxmemory", "1"}});
    const bool gone = counter_is_gone() && evicted() > before;
    raw_.command({"CONFIG", "SET", "maxmemory", "0"});
    return done && gone;
  }

 private:
  bool counter_is_gone() {
    return eventually([&] { return !raw_.exists(counter_); });
  }
  std::int64_t evicted() { return raw_.info("stats", "evicted_keys:"); }

  RawClient raw_;
  std::string key_;
  std::string counter_;
};

}  // namespace

bool befall(RedisServer& server, const std::string& key, Mishap mishap) {
  Meddler meddler(server, key);
  switch (mishap) {
    case Mishap::restart: {
      // From there on no client is served, so that it is held still when the server dies.
      const bool held = meddler.does_while_held({{"CLIENT", "PAUSE", "60000"}});
      server.kill();
      server.start();
      return held;
    }
    case Mishap::flush:
      return meddler.does_while_held({{"FLUSHALL"}});
    case Mishap::deletion:
      return meddler.deletes_counter();
    case Mishap::expiry:
      return meddler.expires_counter();
    case Mishap::eviction:
      return meddler.evicts_counter();
  }
  return false;
}

}  // namespace redlatch::test
