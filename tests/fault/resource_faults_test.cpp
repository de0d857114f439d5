// Descriptors, threads, memory and system calls that fail, each in its turn.

#include "resource_faults.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <initializer_list>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "redis_server.hpp"
#include "resource_journeys.hpp"
#include "resource_sweep.hpp"
#include "sentinel_server.hpp"

namespace redlatch::test {
namespace resource_faults_test {

std::vector<Fault> all_of(Function function, std::initializer_list<int> errors) {
  std::vector<Fault> faults;
  for (const int error : errors) faults.push_back({.function = function, .error = error});
  return faults;
}

std::vector<Fault> operator+(std::vector<Fault> one, const std::vector<Fault>& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

/// A signal, or a full buffer, or a part: nothing that a program would get to see.
std::vector<Fault> harmless() {
  std::vector<Fault> faults{{.function = Function::send, .is_short = true},
                            {.function = Function::receive, .is_short = true},
                            {.function = Function::random, .is_short = true}};
  for (const Function function : {Function::connect, Function::send, Function::receive,
                                  Function::poll, Function::random, Function::wait}) {
    faults.push_back({.function = function, .error = EINTR});
  }
  for (const Function function : {Function::send, Function::receive}) {
    faults.push_back({.function = function, .error = EAGAIN});
  }
  return faults;
}

std::vector<Fault> failing_calls() {
  std::vector<Fault> faults{{.function = Function::receive, .is_closed = true}};
  const auto add = [&](Function function, std::initializer_list<int> errors) {
    for (const Fault& one : all_of(function, errors)) faults.push_back(one);
  };
  add(Function::connect, {ENOBUFS, ENOMEM, EADDRNOTAVAIL, ECONNREFUSED, EAGAIN});
  add(Function::get_option, {ENOBUFS});
  add(Function::set_option, {ENOMEM});
  add(Function::control, {EAGAIN});
  add(Function::own_name, {ENOBUFS});
  add(Function::send, {ENOBUFS, ENOMEM, ECONNRESET, EPIPE});
  add(Function::receive, {ENOMEM, ECONNRESET});
  add(Function::poll, {ENOMEM});
  return faults;
}

std::vector<Fault> no_descriptors() {
  std::vector<Fault> faults;
  for (const Function function : {Function::socket, Function::event_fd, Function::open_file}) {
    faults.push_back({.function = function, .error = EMFILE});
    faults.push_back({.function = function, .error = EMFILE, .lasts = true});
  }
  faults.push_back({.function = Function::descriptor, .error = EMFILE});
  return faults + all_of(Function::socket, {ENFILE, ENOBUFS, ENOMEM});
}

std::vector<Fault> no_threads() {
  return {{.function = Function::create_thread, .error = EAGAIN},
          {.function = Function::create_thread, .error = EAGAIN, .lasts = true}};
}

std::vector<Fault> no_memory() { return {{.function = Function::allocate, .error = ENOMEM}}; }

class ResourceFaults : public testing::TestWithParam<std::string> {
 protected:
  void run(const std::vector<Fault>& faults, Expected expected = Expected::error_or_success,
           int max_step = 1, const ClientOptions& with = usual_options()) {
    int landed = 0;
    for (const JourneyKind& one : journeys_of(GetParam(), site, with)) {
      landed += sweep(one, faults, expected, max_step);
    }
    EXPECT_GT(landed, 0);
  }

  Site site = site_of(GetParam());
};

TEST_P(ResourceFaults, OfSignalsAndPartsDisturbNoOperation) { run(harmless(), Expected::success); }

/// The end of a client waits for `command_timeout` where a connection was lost behind a command.
TEST_P(ResourceFaults, OfSystemCallsAreErrors) {
  run(failing_calls(), Expected::error_or_success, 1,
      {.connect_timeout = 3s, .command_timeout = 500ms});
}

TEST_P(ResourceFaults, OfDescriptorsAreErrors) { run(no_descriptors()); }

TEST_P(ResourceFaults, OfThreadsAreErrors) { run(no_threads()); }

/// A handshake of TLS takes thousands of allocations.
TEST_P(ResourceFaults, OfMemoryAreErrors) {
  run(no_memory(), Expected::error_or_success, GetParam() == "Tls" ? 64 : 4);
}

INSTANTIATE_TEST_SUITE_P(At, ResourceFaults,
                         testing::Values("Client", "Tls", "Quorum", "Sentinel", "Cluster"),
                         [](const auto& test) { return test.param; });

/// A renewal is tried again until it succeeds.
class ResourceFaultsOfRenewals : public testing::TestWithParam<std::string> {
 protected:
  void run(const std::vector<Fault>& faults) {
    EXPECT_GT(sweep(GetParam() == "Quorum" ? journey<Renewal<OfQuorum>>("renewal", site)
                                           : journey<Renewal<OfClient>>("renewal", site),
                    faults, Expected::success, 8),
              0);
  }

  Site site = site_of(GetParam());
};

TEST_P(ResourceFaultsOfRenewals, OfSystemCallsLoseNoLock) {
  run({{.function = Function::send, .is_short = true},
       {.function = Function::send, .error = ECONNRESET},
       {.function = Function::receive, .is_closed = true},
       {.function = Function::poll, .error = ENOMEM}});
}

TEST_P(ResourceFaultsOfRenewals, OfMemoryLoseNoLock) { run(no_memory()); }

INSTANTIATE_TEST_SUITE_P(At, ResourceFaultsOfRenewals, testing::Values("Client", "Quorum"),
                         [](const auto& test) { return test.param; });

TEST(ResourceFault, OfMemoryBehindATimeOutLeavesNothing) {
  Site site = one_server();
  EXPECT_GT(
      sweep(journey<SilentServer>("silent server", site), no_memory(), Expected::error_or_success),
      0);
}

TEST(ResourceFault, IsAnErrorWithoutScripts) {
  Site site = one_server();
  ClientOptions with = usual_options();
  with.scripting = false;
  for (const JourneyKind& one : quick_journeys<OfClient>(site, with)) {
    sweep(one, failing_calls() + no_memory(), Expected::error_or_success);
  }
}

TEST(ResourceFault, IsAnErrorWhereCredentialsAreAskedFor) {
  Site site = one_server();
  site.raw().command({"ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all"});
  ClientOptions with = usual_options();
  with.credentials = [] { return Credentials{.user = "app", .password = "secret"}; };
  EXPECT_GT(sweep(journey<FirstLock<OfClient>>("first lock", site, with),
                  no_descriptors() + no_threads() + no_memory(), Expected::error_or_success),
            0);
}

/// The Sentinel that is asked first is not alone.
class FirstLockByTwoSentinels : public FirstLock<OfClient> {
 public:
  FirstLockByTwoSentinels(Site& at, const ClientOptions& given, std::string url)
      : FirstLock(at, given), url_(std::move(url)) {}

  void act() override {
    owner.emplace(url_, with);
    static_cast<void>(Lock(*owner, "job", long_lease).unlock());
  }

 private:
  const std::string url_;
};

TEST(ResourceFault, OfMemoryForOneSentinelLeavesTheOther) {
  Site site = one_server();
  std::string url = "redis-sentinel://";
  std::list<SentinelServer> sentinels;
  for (int i = 0; i < 2; ++i) {
    SentinelServer& one = sentinels.emplace_back(false);
    one.configure({"sentinel monitor test 127.0.0.1 " + std::to_string(site.server().port()) + " 1",
                   "sentinel down-after-milliseconds test 3600000"});
    one.start();
    url += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + std::to_string(one.port());
  }
  url += "#test";
  FirstLockByTwoSentinels journey(site, usual_options(), url);
  {
    const LibraryCalls library;
    const ArmedFault armed({.function = Function::socket, .error = ENOMEM}, 1);
    EXPECT_NO_THROW(journey.act());
  }
  EXPECT_EQ(ArmedFault::landed(), 1);
}

}  // namespace resource_faults_test
}  // namespace redlatch::test
