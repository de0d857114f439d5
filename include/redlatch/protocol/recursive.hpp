#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/thread_name.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/shared.hpp>

namespace redlatch::protocol {

// KEYS[1] the holders, ARGV[1] a value or its owner tag. The number of holds of that owner.
inline constexpr std::string_view count_lua =
    R"(local held = first_holder()
return held and owner_tag(held) == owner_tag(ARGV[1]) and redis.call('ZCARD', KEYS[1]) or 0)";
extern const Sha1 count_hash;
inline constexpr Script count_script{
    .text = joined<milliseconds_lua, holders_lua, remove_expired_lua, count_lua>,
    .hash = &count_hash,
    .effect = Script::Effect::other};

/// One of the holds of an owner: of the thread that acquires, or of a name.
class Recursive : public Shared {
 public:
  using Shared::Shared;
  Recursive(std::string key, const Owner& owner, bool fencing)
      : Shared(std::move(key), fencing), owner_("=o:" + owner.name) {
    const bool is_good = std::none_of(owner.name.begin(), owner.name.end(), [](char c) {
      return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
    });
    if (!is_good || owner.name.empty() || owner.name.size() > 256) {
      throw Error(Errc::invalid_argument,
                  "the name of an owner has to be of 1 to 256 bytes without spaces and control "
                  "characters");
    }
  }

  std::string owner_tag() const { return owner_.empty() ? "=t:" + detail::thread_name() : owner_; }
  Command count(std::string_view value) const { return Command(count_script, key(), value); }

 private:
  std::string owner_{};  // empty: the calling thread
};

}  // namespace redlatch::protocol
