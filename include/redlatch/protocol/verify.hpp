#pragma once

#include <redlatch/protocol/script.hpp>

namespace redlatch::protocol {

// KEYS the locks, ARGV[1] the value. 1: all of them hold it; 0: one does not. The local variable is
// named KEYS for the reason in queue.hpp.
extern const Sha1 verify_hash;
inline constexpr Script verify_script{.text = R"(for _, key in ipairs(KEYS) do
  local KEYS = {key}
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
end
return 1)",
                                      .hash = &verify_hash,
                                      .effect = Script::Effect::other,
                                      .takes_more = true};

}  // namespace redlatch::protocol
