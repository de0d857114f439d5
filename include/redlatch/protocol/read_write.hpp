#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/thread_name.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/shared.hpp>

namespace redlatch::protocol {

// KEYS[1] the holders, KEYS[2] the queue, ARGV[1] the value of the writer, ARGV[2] that of the
// reader, ARGV[3] the ttl. 1: the reader has replaced the writer; 0: the writer was not a holder.
inline constexpr std::string_view downgrade_lua =
    R"(if give_up(ARGV[1]) == 0 then return 0 end
hold(ARGV[2], ARGV[3])
pcall(admit_waiting)
return 1)";
extern const Sha1 downgrade_hash;
inline constexpr Script downgrade_script{
    .text = joined<milliseconds_lua, entry_lua, holders_lua, remove_expired_if_any_lua, change_lua,
                   admits_lua, admit_waiting_lua, downgrade_lua>,
    .hash = &downgrade_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"}};

/// A reader. Its owner tag names the thread, so that a writer of the same thread is recognised.
class ReadSide : public Shared {
 public:
  ReadSide(std::string key, bool fencing) : Shared(std::move(key)) {
    refuse_fencing(fencing, "a read lock");
  }

  static std::string owner_tag() { return "r" + detail::thread_name(); }
};

/// A writer, with its thread in the owner tag.
class WriteSide : public Shared {
 public:
  using Shared::Shared;

  static std::string owner_tag() { return "w" + detail::thread_name(); }
  Command turn_into(std::string_view writer, std::string_view reader,
                    std::chrono::milliseconds ttl) const {
    return Command(downgrade_script, key(), writer, reader, ttl);
  }
};

}  // namespace redlatch::protocol
