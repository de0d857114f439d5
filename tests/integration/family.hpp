#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "contender.hpp"

namespace redlatch::test {

/// A lock of "job" that is not held yet. Of permits there is one.
template <class L>
L deferred(Client& client, LockOptions options = long_lease) {
  return L(client, "job", std::defer_lock, std::move(options));
}
template <>
inline Permit deferred<Permit>(Client& client, LockOptions options) {
  return Permit(client, "job", 1, std::defer_lock, std::move(options));
}

/// Of several keys there is another.
template <>
inline MultiLock deferred<MultiLock>(Client& client, LockOptions options) {
  return MultiLock(client, {"job", "{job}mail"}, std::defer_lock, std::move(options));
}

template <class L>
class Rival : public ContenderOf<L> {
 public:
  using ContenderOf<L>::ContenderOf;
};
template <>
class Rival<Permit> : public ContenderOf<Permit> {
 public:
  explicit Rival(Client client, LockOptions options = long_lease)
      : ContenderOf(std::move(client), std::move(options), 1) {}
};

/// Does the work in a thread of its own, and throws what that throws.
inline void in_a_thread(const std::function<void()>& work) {
  std::exception_ptr thrown;
  std::thread([&] {
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}

/// What the action returns in a thread of its own: some locks know their thread. With std::async,
/// each action would be a hundred functions to compile, in the tests of each class.
template <class Action>
auto elsewhere(Action action) {
  using Result = decltype(action());
  if constexpr (std::is_void_v<Result>) {
    in_a_thread(action);
  } else {
    std::optional<Result> result;
    in_a_thread([&] { result.emplace(action()); });
    return std::move(*result);
  }
}

/// Two classes of which the one keeps the other waiting.
template <class H, class W>
struct Pair {
  using Holder = H;
  using Waiter = W;
};
using Pairs =
    testing::Types<Pair<FairLock, FairLock>, Pair<Lock, FairLock>, Pair<WriteLock, WriteLock>,
                   Pair<WriteLock, ReadLock>, Pair<ReadLock, WriteLock>,
                   Pair<RecursiveLock, RecursiveLock>, Pair<Permit, Permit>>;

/// "job" as a pair of classes sees it. It is free at first.
template <class Classes>
class FamilyTest : public QueueTest {
 protected:
  using Holder = typename Classes::Holder;
  using Waiter = typename Classes::Waiter;

  /// The values at the server.
  std::vector<std::string> holders() {
    const std::string kind = raw.command({"TYPE", "job"}).text;
    if (kind == "string") return {raw.get("job")};
    std::vector<std::string> all;
    if (kind != "zset") return all;
    for (const RawReply& one : raw.command({"ZRANGE", "job", "0", "-1"}).elements) {
      all.push_back(one.text);
    }
    return all;
  }
  bool is_at_the_server(const std::string& token) {
    for (const std::string& value : holders()) {
      if (value.find(token) != std::string::npos) return true;
    }
    return false;
  }

  Holder holder = deferred<Holder>(client);
};

}  // namespace redlatch::test
