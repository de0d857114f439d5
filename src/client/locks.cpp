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

Lock::Lock(Client& client, std::string key, std::defer_lock_t, LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Exclusive>>, client.executor(),
                  protocol::Exclusive(std::move(key), options.fencing), std::move(options)) {}

FairLock::FairLock(Client& client, std::string key, std::defer_lock_t, LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Fair>>, client.executor(),
                  protocol::Fair(std::move(key), options.fencing), std::move(options)) {}

ReadLock::ReadLock(Client& client, std::string key, std::defer_lock_t, LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::ReadSide>>, client.executor(),
                  protocol::ReadSide(std::move(key), options.fencing), std::move(options)) {}

WriteLock::WriteLock(Client& client, std::string key, std::defer_lock_t, LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::WriteSide>>, client.executor(),
                  protocol::WriteSide(std::move(key), options.fencing), std::move(options)) {}

RecursiveLock::RecursiveLock(Client& client, std::string key, std::defer_lock_t,
                             LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Recursive>>, client.executor(),
                  protocol::Recursive(std::move(key), options.fencing), std::move(options)) {}

RecursiveLock::RecursiveLock(Client& client, std::string key, const Owner& owner, std::defer_lock_t,
                             LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Recursive>>, client.executor(),
                  protocol::Recursive(std::move(key), owner, options.fencing), std::move(options)) {
}

MultiLock::MultiLock(Client& client, const std::vector<std::string>& keys, std::defer_lock_t,
                     LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Multi>>, client.executor(),
                  protocol::Multi(keys, options.fencing), std::move(options)) {}

Permit::Permit(Client& client, std::string key, std::int64_t limit, std::defer_lock_t,
               LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Permit>>, client.executor(),
                  protocol::Permit(std::move(key), limit, options.fencing), std::move(options)) {}

Redlock::Redlock(Quorum& nodes, std::string key, std::defer_lock_t, LockOptions options)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::Majority>>, nodes.executor(),
                  protocol::Majority(std::move(key), options.fencing), std::move(options)) {}

// The cores of these classes are always of these types: their constructors above make them.
ReadLock::ReadLock(detail::LockCore& writer)
    : CheckedLock(std::in_place_type<detail::LockCoreOf<protocol::ReadSide>>,
                  static_cast<detail::LockCoreOf<protocol::WriteSide>&>(writer).turn_into(
                      protocol::ReadSide(writer.key(), false))) {}

ReadLock WriteLock::downgrade() { return ReadLock(core()); }

std::int64_t RecursiveLock::hold_count() const {
  return static_cast<const detail::LockCoreOf<protocol::Recursive>&>(core()).count();
}

}  // namespace redlatch
