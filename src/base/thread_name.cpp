#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>

#include <redlatch/detail/thread_name.hpp>
#include <redlatch/token.hpp>

namespace redlatch::detail {
namespace {

/// The name of a thread at the servers, in owner tags, where threads of all hosts meet: a random
/// token, drawn when the thread first needs it, and once more in a forked child, whose thread is
/// another owner. Without a destructor, so that it can be used until the very end of a thread.
struct Named {
  pid_t process = 0;
  std::array<char, 36> token{};
};
thread_local constinit Named named;
thread_local constinit int known_number = 0;  // 0: not asked for yet

}  // namespace

std::string thread_name() {
  const pid_t process = ::getpid();
  if (named.process != process) {
    const std::string token = make_token();
    token.copy(named.token.data(), named.token.size());
    named.process = process;
  }
  return {named.token.data(), named.token.size()};
}

int thread_number() noexcept {
  if (known_number == 0) known_number = static_cast<int>(::syscall(SYS_gettid));
  return known_number;
}

void forget_thread_number() noexcept { known_number = 0; }

std::string held_by_thread(int number) {
  std::string text = "this process holds the key: thread " + std::to_string(number);
  text += number == thread_number()
              ? ", which asks for it, has acquired it by another object; a RecursiveLock may be "
                "held by several objects of a thread"
              : " has acquired it";
  return text;
}

}  // namespace redlatch::detail
