#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "proxy.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"

namespace redlatch::test {

/// A connection is broken in one manner, at each byte of one direction.
struct Campaign {
  const char* name;
  Proxy::Direction direction;
  Proxy::Manner manner;
  bool scripting = true;
};

void PrintTo(const Campaign& campaign, std::ostream* out);

/// What has been seen, by all lanes together.
struct Tally {
  std::atomic<std::size_t> in_doubt{0};   // acquisitions
  std::atomic<std::size_t> shared{0};     // cuts with commands of several threads under way
  std::atomic<std::size_t> answered{0};   // answers that had come whole before the cut,
  std::atomic<std::size_t> delivered{0};  // and were delivered
  std::atomic<std::size_t> repeated{0};   // cuts that did not land where they were meant to
  std::atomic<std::size_t> violations{0};

  /// Fails the test.
  void violation(const std::string& what);
};

/// A place to try one position after the other. There are several of them side by side, since most
/// of the time of each is waiting.
class Lane {
 public:
  /// Each stall takes as long. Half of it has to be enough for threads of a busy machine to come
  /// together.
  static constexpr std::chrono::milliseconds command_timeout{200};
  /// Nothing here expires.
  static inline const LockOptions long_lease{.ttl = std::chrono::seconds(60)};

  /// Of a fault that does not come to pass.
  static constexpr std::size_t never = std::size_t{1} << 40;

  /// `name` begins the keys of the lane.
  Lane(const RedisServer& server, const Campaign& campaign, Tally& tally, char name);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  virtual ~Lane() = default;

  /// How much passes in the campaign's direction when nothing breaks.
  std::size_t measure();
  /// Breaks the connection after so many bytes.
  void cut_at(std::size_t byte);

 protected:
  /// Does the work with the fault ahead, and everything that has to be true behind it. False when
  /// the fault did not land as it was meant to, because the machine was too slow.
  virtual bool survive(const Proxy::Fault& fault) = 0;

  /// With a connection, so that what passes from here on is what the campaign is about.
  std::unique_ptr<Client> connected();
  void violation(const std::string& what);
  /// Counts the doubt. What threw it must have left `key` alone if there is none.
  void check(const Error& error, const std::string& key, RawClient& raw);
  /// A stranger takes the key, long before the ttl is over.
  void take_over(const std::string& key);
  /// The client takes and releases another key again, and leaves the stranger's.
  void check_works(Client& client, const std::string& key);
  /// The stranger's key was not taken since.
  void give_back(const std::string& key);

  const char name;
  const Campaign& campaign;
  const RedisServer& server;
  Tally& tally;
  Proxy proxy{server.socket()};
  RawClient stranger{server.socket()};

 private:
  bool is_taken_by(Client& client, const std::string& key);

  std::string where_{};
};

/// Cuts at every byte in turn (but see stride.hpp), on all lanes, and prints what was seen. How
/// many positions that were.
std::size_t cut_everywhere(const std::vector<std::unique_ptr<Lane>>& lanes, Tally& tally);
/// Neither has anything come late, when all clients are gone.
void check_nothing_is_left(const RedisServer& server, Tally& tally);

/// The whole campaign, each of its lanes being a `Kind`.
template <class Kind>
std::size_t run(const Campaign& campaign, Tally& tally) {
  const RedisServer server;
  std::vector<std::unique_ptr<Lane>> lanes;
  for (char name = 'a'; name < 'a' + 12; ++name) {
    lanes.push_back(std::make_unique<Kind>(server, campaign, tally, name));
  }
  const std::size_t positions = cut_everywhere(lanes, tally);
  lanes.clear();
  check_nothing_is_left(server, tally);
  return positions;
}

struct Command {
  std::string name;
  std::string key;     // empty when it is about none
  std::string sha1{};  // of a script
};
/// Also the last one, when enough of it is there.
std::vector<Command> commands_in(std::string_view said);
/// How many are there as a whole. None of them has lines within.
std::size_t replies_in(std::string_view heard);

}  // namespace redlatch::test
