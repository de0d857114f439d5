// What the headers of the lock classes leave to the library, so that users compile none of it.

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/client.hpp>
#include <redlatch/detail/lock_core.hpp>
#include <redlatch/fair_lock.hpp>
#include <redlatch/lock.hpp>
#include <redlatch/multi_lock.hpp>
#include <redlatch/permit.hpp>
#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/fair.hpp>
#include <redlatch/protocol/majority.hpp>
#include <redlatch/protocol/multi.hpp>
#include <redlatch/protocol/permit.hpp>
#include <redlatch/protocol/read_write.hpp>
#include <redlatch/protocol/recursive.hpp>
#include <redlatch/quorum.hpp>
#include <redlatch/read_write_lock.hpp>
#include <redlatch/recursive_lock.hpp>
#include <redlatch/redlock.hpp>

namespace redlatch {

template <class Protocol, class Servers, class... What>
AcquiringLock<Protocol, Servers, What...>::AcquiringLock(Servers& servers, What... what,
                                                         std::defer_lock_t, LockOptions options)
    : BasicLock(std::in_place_type<detail::LockCoreOf<Protocol>>, servers.executor(),
                Protocol(std::move(what)..., options.fencing), std::move(options)) {}

template class AcquiringLock<protocol::Exclusive, Client, std::string>;
template class AcquiringLock<protocol::Fair, Client, std::string>;
template class AcquiringLock<protocol::ReadSide, Client, std::string>;
template class AcquiringLock<protocol::WriteSide, Client, std::string>;
template class AcquiringLock<protocol::Recursive, Client, std::string>;
template class AcquiringLock<protocol::Multi, Client, std::vector<std::string>>;
template class AcquiringLock<protocol::Permit, Client, std::string, std::int64_t>;
template class AcquiringLock<protocol::Majority, Quorum, std::string>;

ReadLock::ReadLock(detail::LockCore& writer)
    : AcquiringLock(std::in_place_type<detail::LockCoreOf<protocol::ReadSide>>,
                    static_cast<detail::LockCoreOf<protocol::WriteSide>&>(writer).turn_into(
                        protocol::ReadSide(writer.key(), false))) {}

ReadLock WriteLock::downgrade() { return ReadLock(core()); }

RecursiveLock::RecursiveLock(Client& client, std::string key, const Owner& owner, std::defer_lock_t,
                             LockOptions options)
    : AcquiringLock(std::in_place_type<detail::LockCoreOf<protocol::Recursive>>, client.executor(),
                    protocol::Recursive(std::move(key), owner, options.fencing),
                    std::move(options)) {}

std::int64_t RecursiveLock::hold_count() const {
  return static_cast<const detail::LockCoreOf<protocol::Recursive>&>(core()).count();
}

}  // namespace redlatch
