#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/queue.hpp>

namespace redlatch::test {

/// What happens next to a server and its clients.
struct RandomStep {
  enum class Kind { command, pass_time, set_mode };
  enum class Mode { writable, replica, stale_replica, without_replicas, out_of_memory, no_scripts };

  Kind kind = Kind::command;
  std::size_t connection = 0;
  std::string bytes{};    // one command, or several in one batch
  std::int64_t time = 0;  // milliseconds
  Mode mode = Mode::writable;
};

/// The bytes of one command.
std::string in_resp(std::initializer_list<std::string_view> words);
std::string in_resp(std::span<const std::string> words);

/// Commands as a library under test sends them, and others that use the same keys wrongly, all from
/// one seed. The first two connections mostly subscribe, the third mostly has transactions.
class RandomCommands {
 public:
  /// `ids`: of the connections, as CLIENT ID says.
  RandomCommands(std::uint64_t seed, std::vector<std::uint64_t> ids);

  RandomStep next();
  /// The reply to the last step, from which later commands take what they know of queue entries.
  void answered(std::string_view reply);
  void replaced(std::size_t connection, std::uint64_t id) { ids_[connection] = id; }

 private:
  /// Which classes of locks a sequence mostly has, so that they meet each other.
  enum class Theme { any, exclusive, read_write, recursive, permit };

  std::size_t below(std::size_t limit);
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class T, std::size_t n>
  const T& one_of(const T (&all)[n]) {
    return all[below(n)];
  }
  std::string one_of(std::initializer_list<const char*> all) {
    return all.begin()[below(all.size())];
  }

  /// Often the same as before, so that what was acquired is also released.
  const std::string& key() { return again(keys_, key_); }
  const std::string& token() { return again(tokens_, token_); }
  const std::string& again(const std::vector<std::string>& all, std::size_t& last) {
    if (chance(40)) last = below(all.size());
    return all[last];
  }
  std::string thread() { return chance(75) ? "1-10" : "1-11"; }
  std::string entry();
  std::string any_key();
  std::string owner_tag();
  RandomStep mode_change();
  std::string value_for_key();
  std::string channel();
  std::string ttl();
  std::string index();
  std::string sent(const protocol::Command& command);

  std::string subscriber_command();
  std::string tracking(std::string_view name);
  std::string transaction_command();
  std::string connection_command();
  std::string data_command();
  std::string string_command();
  std::string key_command();
  std::string list_command();
  std::string sorted_set_command();
  std::string script_command();
  std::string library_command();
  std::string library_command(Theme theme);
  std::string exclusive_command();
  template <class Protocol>
  std::string lock_command(const Protocol& lock, const std::string& owner_tag);
  template <class Protocol>
  std::string queue_command(const Protocol& lock, const protocol::QueueEntry& entry);
  std::string other_lock_command();

  std::mt19937_64 random_;
  std::vector<std::uint64_t> ids_;
  Theme theme_;
  // Few of each, for the same reason.
  std::vector<std::string> keys_{};
  std::vector<std::string> tokens_{};
  std::size_t key_ = 0;    // the last
  std::size_t token_ = 0;  // the last
  bool is_writable_ = true;
  int subscribers_ = 0;                   // that have begun
  std::vector<std::int64_t> expiries_{};  // of queue entries
};

}  // namespace redlatch::test
