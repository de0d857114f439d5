#include <gtest/gtest.h>

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <mutex>
#include <type_traits>

#include <redlatch/redlatch.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace types_test {

template <class T>
concept TimedLockable = requires(T lock, std::chrono::milliseconds wait,
                                 std::chrono::steady_clock::time_point steady,
                                 std::chrono::system_clock::time_point system) {
  { lock.lock() } -> std::same_as<void>;
  { lock.try_lock() } -> std::same_as<bool>;
  { lock.try_lock_for(wait) } -> std::same_as<bool>;
  { lock.try_lock_for(std::chrono::duration<double>(wait)) } -> std::same_as<bool>;
  { lock.try_lock_until(steady) } -> std::same_as<bool>;
  { lock.try_lock_until(system) } -> std::same_as<bool>;
  { lock.unlock() }
  noexcept->std::same_as<Unlock>;
};

template <class T>
concept PlainQuestions = requires(const T lock) {
  { lock.owns_lock() }
  noexcept->std::same_as<bool>;
  { lock.expires_at() }
  noexcept->std::same_as<std::chrono::steady_clock::time_point>;
  { lock.remaining() }
  noexcept->std::same_as<std::chrono::milliseconds>;
  { lock.key() }
  noexcept->std::same_as<const std::string&>;
  { lock.token() }
  noexcept->std::same_as<const std::string&>;
};

static_assert(TimedLockable<Lock>);
static_assert(PlainQuestions<Lock>);
static_assert(std::is_nothrow_move_constructible_v<Lock>);
static_assert(std::is_nothrow_move_assignable_v<Lock>);
static_assert(std::is_nothrow_destructible_v<Lock>);
static_assert(!std::is_copy_constructible_v<Lock>);
static_assert(!std::is_copy_assignable_v<Lock>);
static_assert(!std::is_default_constructible_v<Lock>);
static_assert(std::is_constructible_v<bool, Lock> && !std::is_convertible_v<Lock, bool>);

static_assert(std::is_constructible_v<Lock, Client&, std::string>);
static_assert(std::is_constructible_v<Lock, Client&, const char*, LockOptions>);
static_assert(std::is_constructible_v<Lock, Client&, std::string, std::try_to_lock_t>);
static_assert(std::is_constructible_v<Lock, Client&, std::string, std::try_to_lock_t, LockOptions>);
static_assert(std::is_constructible_v<Lock, Client&, std::string, std::defer_lock_t, LockOptions>);
static_assert(std::is_constructible_v<Lock, Client&, std::string, std::chrono::seconds>);
static_assert(
    std::is_constructible_v<Lock, Client&, std::string, std::chrono::duration<float>, LockOptions>);
static_assert(!std::is_constructible_v<Lock, const Client&, std::string>);
static_assert(!std::is_constructible_v<Lock, Client&, std::string, int>);

/// What all classes have in common, with what each is a lock of.
template <class L, class... What>
constexpr bool is_lock_of =
    TimedLockable<L>&& PlainQuestions<L>&& std::is_nothrow_move_constructible_v<L>&&
        std::is_nothrow_move_assignable_v<L>&& std::is_nothrow_destructible_v<L> &&
    !std::is_copy_constructible_v<L> && !std::is_copy_assignable_v<L> &&
    std::is_constructible_v<L, Client&, What...> &&
    std::is_constructible_v<L, Client&, What..., LockOptions> &&
    std::is_constructible_v<L, Client&, What..., std::try_to_lock_t> &&
    std::is_constructible_v<L, Client&, What..., std::try_to_lock_t, LockOptions> &&
    std::is_constructible_v<L, Client&, What..., std::defer_lock_t, LockOptions> &&
    std::is_constructible_v<L, Client&, What..., std::chrono::seconds> &&
    std::is_constructible_v<L, Client&, What..., std::chrono::duration<float>, LockOptions> &&
    !std::is_constructible_v<L, const Client&, What...>;
template <class L, class... What>
constexpr bool is_of_the_family = is_lock_of<L, const char*, What...>;
static_assert(is_of_the_family<Lock> && is_of_the_family<FairLock>);
static_assert(is_of_the_family<ReadLock> && is_of_the_family<WriteLock>);
static_assert(is_of_the_family<RecursiveLock> && is_of_the_family<RecursiveLock, Owner>);
static_assert(is_of_the_family<Permit, int>);
static_assert(is_lock_of<MultiLock, std::vector<std::string>>);
static_assert(!std::is_constructible_v<Permit, Client&, const char*>);
static_assert(!std::is_constructible_v<FairLock, Lock> && !std::is_constructible_v<Lock, FairLock>);
static_assert(!std::is_constructible_v<ReadLock, WriteLock>);

static_assert(!std::is_copy_constructible_v<Client> && !std::is_copy_assignable_v<Client>);
static_assert(std::is_nothrow_move_constructible_v<Client>);
static_assert(std::is_nothrow_move_assignable_v<Client>);
static_assert(!std::is_convertible_v<const char*, Client>);

static_assert(std::is_aggregate_v<LockOptions> && std::is_aggregate_v<ClientOptions>);

/// What users write.
[[maybe_unused]] void compiles(Client& client) {
  const Lock waiting{client, "job:42", {.ttl = 30s}};
  const Lock trying(client, "job:42", std::try_to_lock, {.ttl = 30s});
  const Lock bounded(client, "job:42", 5s, {.ttl = 30s});
  if (const Lock lock{client, "job:42", std::try_to_lock}) static_cast<void>(lock.token());
  const MultiLock all(client, {"a", "b"});
  const MultiLock of_one{client, {"a"}, 5s, {.ttl = 30s}};
  if (MultiLock lock(client, {"a", "b", "c"}, std::try_to_lock, {.fencing = true}); lock) return;
}

TEST(LockOptions, HaveTheDocumentedTtl) { EXPECT_EQ(LockOptions{}.ttl, 10s); }

TEST(ClientOptions, HaveTheDocumentedDefaults) {
  const ClientOptions options;
  EXPECT_EQ(options.connect_timeout, 1000ms);
  EXPECT_EQ(options.command_timeout, 500ms);
  EXPECT_EQ(options.connections, 4U);
  EXPECT_EQ(options.client_name, "");
  EXPECT_TRUE(options.scripting);
}

TEST(LockTimedLockable, WorksWithScopedLock) {
  const Fake executor = fake(says(ok()), says(ok()));
  TestLock first = lock_on(executor);
  TestLock second = lock_on(executor);
  {
    const std::scoped_lock both(first, second);
    EXPECT_TRUE(first.owns_lock() && second.owns_lock());
  }
  EXPECT_FALSE(first.owns_lock() || second.owns_lock());
}

TEST(LockTimedLockable, LetsStdLockBackOff) {
  const Fake one = fake(says(ok()), says(integer(1)), says(ok()));
  const Fake other = fake(says(nil()), says(ok()));
  TestLock first = lock_on(one);
  TestLock second = lock_on(other);
  std::lock(first, second);
  EXPECT_TRUE(first.owns_lock() && second.owns_lock());
}

TEST(LockTimedLockable, WorksWithUniqueLock) {
  const Fake executor = fake(says(nil()));
  TestLock lock = lock_on(executor);
  const std::unique_lock guard(lock, 0ms);
  EXPECT_FALSE(guard.owns_lock());
}

TEST(LockTimedLockable, WorksWithConditionVariableAny) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)));
  executor->will(says(ok()));
  std::condition_variable_any changed;
  EXPECT_EQ(changed.wait_until(lock, std::chrono::steady_clock::now()), std::cv_status::timeout);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(executor->calls.size(), 3U);
}

}  // namespace types_test
}  // namespace redlatch::test
