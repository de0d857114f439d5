#include "fake_resolver.hpp"

#include <dlfcn.h>
#include <netdb.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>

namespace redlatch::test {
namespace {

/// What the fake one says. A forked child may find its mutexes taken, as glibc's would be.
struct State {
  std::mutex mutex{};
  std::condition_variable changed{};
  std::vector<std::string> addresses{};
  int error = 0;
  bool hangs = false;
  std::atomic<int> asked = 0;
  std::atomic<int> hanging = 0;
  std::mutex held_while_asked{};
};

/// Never destroyed: a look-up may outlast the end of main.
State& state() {
  static State& state = *new State;
  return state;
}

template <class Change>
void change(Change how) {
  {
    const std::lock_guard lock(state().mutex);
    how(state());
  }
  state().changed.notify_all();
}

using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);

Function real() {
  static const auto function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return function;
}

int look_up(const char* service, const addrinfo* hints, addrinfo** found) {
  const std::lock_guard held(state().held_while_asked);
  std::unique_lock lock(state().mutex);
  ++state().asked;
  ++state().hanging;
  state().changed.wait_for(lock, FakeResolver::longest, [] { return !state().hangs; });
  --state().hanging;
  state().changed.notify_all();
  if (state().error != 0) return state().error;
  addrinfo* list = nullptr;
  addrinfo** end = &list;
  for (const std::string& address : state().addresses) {
    if (const int error = real()(address.c_str(), service, hints, end); error != 0) return error;
    while (*end != nullptr) end = &(*end)->ai_next;
  }
  *found = list;
  return list == nullptr ? EAI_NONAME : 0;
}

}  // namespace

FakeResolver::FakeResolver(std::vector<std::string> addresses) {
  set_addresses(std::move(addresses));
}

FakeResolver::~FakeResolver() {
  fail_with(0);
  answer();
  std::unique_lock lock(state().mutex);
  state().changed.wait_for(lock, longest, [] { return state().hanging == 0; });
}

void FakeResolver::set_addresses(std::vector<std::string> addresses) {
  change([&](State& state) { state.addresses = std::move(addresses); });
}

void FakeResolver::fail_with(int error) {
  change([&](State& state) { state.error = error; });
}

void FakeResolver::hang() {
  change([](State& state) { state.hangs = true; });
}

void FakeResolver::answer() {
  change([](State& state) { state.hangs = false; });
}

int FakeResolver::asked() { return state().asked; }

int FakeResolver::hanging() { return state().hanging; }

}  // namespace redlatch::test

// In the place of libc's: the program's own comes first.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found) {
  using namespace redlatch::test;
  const bool numeric = hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0;
  if (numeric || node == nullptr || std::strcmp(node, FakeResolver::name) != 0) {
    return real()(node, service, hints, found);
  }
  return look_up(service, hints, found);
}
