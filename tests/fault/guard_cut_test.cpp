// A guard whose scope is left without waiting, and then the client ends, with the connection broken
// at every byte that passes. Whatever the byte: the key is free when the client is gone.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include "campaign.hpp"
#include "eventually.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace guard_cut_test {

using namespace std::chrono_literals;

class GuardLane final : public Lane {
 public:
  using Lane::Lane;

 protected:
  bool survive(const Proxy::Fault& fault) override;

 private:
  std::chrono::nanoseconds destroy(std::unique_ptr<Client> client);

  const std::string key_ = std::string(1, name) + "0";
};

bool GuardLane::survive(const Proxy::Fault& fault) {
  std::unique_ptr<Client> client = connected();
  proxy.arm_newest(fault);
  bool held = false;
  try {
    const Lock lock(*client, key_, long_lease);
    held = true;
    if (stranger.get(key_) != lock.token()) violation("held without having it");
  } catch (const Error& error) {
    check(error, key_, stranger);
  }
  const bool in_time = destroy(std::move(client)) < command_timeout;
  if (fault.after == never) return held && in_time;
  const bool landed = eventually([&] { return proxy.struck(); }, 1s);
  // A client that could not do it in time leaves the key to its ttl.
  const bool left = !in_time && stranger.exists(key_);
  if (left) stranger.command({"DEL", key_});
  take_over(key_);
  give_back(key_);
  return landed && !left;
}

/// While it waits, the stall is over.
std::chrono::nanoseconds GuardLane::destroy(std::unique_ptr<Client> client) {
  const pid_t id = ::gettid();
  std::thread thaw([&] {
    if (campaign.manner != Proxy::Manner::stall) return;
    eventually([&] { return proxy.struck() && sleeps(id); }, command_timeout / 2);
    proxy.release();
  });
  const auto start = std::chrono::steady_clock::now();
  client.reset();
  const auto time = std::chrono::steady_clock::now() - start;
  thaw.join();
  proxy.release();
  if (time > command_timeout + 10s) violation("the client did not end");
  return time;
}

class LockScopeCutAtEveryByte : public testing::TestWithParam<Campaign> {};

TEST_P(LockScopeCutAtEveryByte, LeavesNothingHeldWhenTheClientIsGone) {
  Tally tally;
  run<GuardLane>(GetParam(), tally);
}

constexpr auto request = Proxy::Direction::request;
constexpr auto reply = Proxy::Direction::reply;

INSTANTIATE_TEST_SUITE_P(
    Lock, LockScopeCutAtEveryByte,
    testing::Values(Campaign{"RequestClosed", request, Proxy::Manner::close},
                    Campaign{"ReplyClosed", reply, Proxy::Manner::close},
                    Campaign{"RequestReset", request, Proxy::Manner::reset},
                    Campaign{"ReplyReset", reply, Proxy::Manner::reset},
                    Campaign{"RequestStalled", request, Proxy::Manner::stall},
                    Campaign{"ReplyStalled", reply, Proxy::Manner::stall},
                    Campaign{"WithoutScriptsRequestClosed", request, Proxy::Manner::close, false},
                    Campaign{"WithoutScriptsReplyClosed", reply, Proxy::Manner::close, false},
                    Campaign{"WithoutScriptsRequestStalled", request, Proxy::Manner::stall, false},
                    Campaign{"WithoutScriptsReplyStalled", reply, Proxy::Manner::stall, false}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace guard_cut_test
}  // namespace redlatch::test
