#pragma once

#include <array>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/fair.hpp>
#include <redlatch/protocol/fencing.hpp>
#include <redlatch/protocol/multi.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/permit.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/read_write.hpp>
#include <redlatch/protocol/recursive.hpp>
#include <redlatch/protocol/shared.hpp>
#include <redlatch/protocol/verify.hpp>

namespace redlatch::test {

struct NamedScript {
  const char* name;
  const protocol::Script* script;
};

/// All that a client may send.
inline constexpr std::array all_scripts{
    NamedScript{"RELEASE", &protocol::release_script},
    NamedScript{"EXTEND", &protocol::extend_script},
    NamedScript{"RELEASE_AFTER", &protocol::release_after_script},
    NamedScript{"RELEASE_AFTER_ALONE", &protocol::release_after_alone_script},
    NamedScript{"ACQUIRE_FENCED", &protocol::acquire_fenced_script},
    NamedScript{"CLAIM_FENCED", &protocol::claim_fenced_script},
    NamedScript{"STAND", &protocol::stand_script},
    NamedScript{"LEAVE", &protocol::leave_script},
    NamedScript{"ACQUIRE_FAIR", &protocol::acquire_fair_script},
    NamedScript{"ACQUIRE_SHARED", &protocol::acquire_shared_script},
    NamedScript{"EXTEND_SHARED", &protocol::extend_shared_script},
    NamedScript{"CLAIM_SHARED", &protocol::claim_shared_script},
    NamedScript{"RELEASE_SHARED_ALONE", &protocol::release_shared_alone_script},
    NamedScript{"RELEASE_ALONE", &protocol::release_alone_script},
    NamedScript{"RELEASE_SHARED", &protocol::release_shared_script},
    NamedScript{"STAND_SHARED", &protocol::stand_shared_script},
    NamedScript{"LEAVE_SHARED", &protocol::leave_shared_script},
    NamedScript{"LIFE_SHARED", &protocol::life_shared_script},
    NamedScript{"DOWNGRADE", &protocol::downgrade_script},
    NamedScript{"COUNT", &protocol::count_script},
    NamedScript{"ACQUIRE_ALL", &protocol::acquire_all_script},
    NamedScript{"ACQUIRE_ALL_FENCED", &protocol::acquire_all_fenced_script},
    NamedScript{"EXTEND_ALL", &protocol::extend_all_script},
    NamedScript{"RELEASE_ALL", &protocol::release_all_script},
    NamedScript{"LIFE_ALL", &protocol::life_all_script},
    NamedScript{"VERIFY", &protocol::verify_script},
    NamedScript{"HARMLESS", &protocol::harmless_script},
};

}  // namespace redlatch::test
