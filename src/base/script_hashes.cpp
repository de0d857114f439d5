// The only file that pays for hashing the scripts at compile time.

#include <array>
#include <span>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/fair.hpp>
#include <redlatch/protocol/fencing.hpp>
#include <redlatch/protocol/multi.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/read_write.hpp>
#include <redlatch/protocol/recursive.hpp>
#include <redlatch/protocol/shared.hpp>
#include <redlatch/protocol/verify.hpp>

namespace redlatch::protocol {

constinit const Sha1 release_hash(release_script.text);
constinit const Sha1 release_alone_hash(release_alone_script.text);
constinit const Sha1 extend_hash(extend_script.text);
constinit const Sha1 release_after_hash(release_after_script.text);
constinit const Sha1 release_after_alone_hash(release_after_alone_script.text);
constinit const Sha1 acquire_fenced_hash(acquire_fenced_script.text);
constinit const Sha1 claim_fenced_hash(claim_fenced_script.text);
constinit const Sha1 stand_hash(stand_script.text);
constinit const Sha1 leave_hash(leave_script.text);
constinit const Sha1 acquire_fair_hash(acquire_fair_script.text);
constinit const Sha1 acquire_shared_hash(acquire_shared_script.text);
constinit const Sha1 extend_shared_hash(extend_shared_script.text);
constinit const Sha1 claim_shared_hash(claim_shared_script.text);
constinit const Sha1 release_shared_alone_hash(release_shared_alone_script.text);
constinit const Sha1 release_shared_hash(release_shared_script.text);
constinit const Sha1 stand_shared_hash(stand_shared_script.text);
constinit const Sha1 leave_shared_hash(leave_shared_script.text);
constinit const Sha1 life_shared_hash(life_shared_script.text);
constinit const Sha1 downgrade_hash(downgrade_script.text);
constinit const Sha1 count_hash(count_script.text);
constinit const Sha1 acquire_all_hash(acquire_all_script.text);
constinit const Sha1 acquire_all_fenced_hash(acquire_all_fenced_script.text);
constinit const Sha1 extend_all_hash(extend_all_script.text);
constinit const Sha1 release_all_hash(release_all_script.text);
constinit const Sha1 life_all_hash(life_all_script.text);
constinit const Sha1 verify_hash(verify_script.text);

std::span<const Script* const> all_scripts() noexcept {
  static constexpr std::array all{&release_script,
                                  &release_alone_script,
                                  &extend_script,
                                  &release_after_script,
                                  &release_after_alone_script,
                                  &acquire_fenced_script,
                                  &claim_fenced_script,
                                  &stand_script,
                                  &leave_script,
                                  &acquire_fair_script,
                                  &acquire_shared_script,
                                  &extend_shared_script,
                                  &claim_shared_script,
                                  &release_shared_alone_script,
                                  &release_shared_script,
                                  &stand_shared_script,
                                  &leave_shared_script,
                                  &life_shared_script,
                                  &downgrade_script,
                                  &count_script,
                                  &acquire_all_script,
                                  &acquire_all_fenced_script,
                                  &extend_all_script,
                                  &release_all_script,
                                  &life_all_script,
                                  &verify_script,
                                  &harmless_script};
  return all;
}

}  // namespace redlatch::protocol
