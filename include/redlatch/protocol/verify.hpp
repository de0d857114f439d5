#pragma once

#include <redlatch/protocol/script.hpp>

namespace redlatch::protocol {

// KEYS the locks, ARGV[1] the value. 1: it holds all of them; 0: it does not.
extern const Sha1 verify_hash;
inline constexpr Script verify_script{.text = R"(for _, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= ARGV[1] then return 0 end
end
return 1)",
                                      .hash = &verify_hash,
                                      .effect = Script::Effect::other,
                                      .takes_more = true};

}  // namespace redlatch::protocol
