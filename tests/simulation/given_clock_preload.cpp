// Preloaded into a server: its wall clock is the number of milliseconds in the file that
// $REDLATCH_GIVEN_CLOCK names, and stands still until a test writes another one. The monotonic
// clock goes on, so that the server's event loop does.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

const std::atomic<std::int64_t>& given() {
  static const auto* const milliseconds = [] {
    const int file = ::open(std::getenv("REDLATCH_GIVEN_CLOCK"), O_RDONLY | O_CLOEXEC);
    void* const page = file < 0
                           ? MAP_FAILED
                           : ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) ::_exit(1);
    ::close(file);
    return static_cast<const std::atomic<std::int64_t>*>(page);
  }();
  return *milliseconds;
}

}  // namespace

extern "C" {

int gettimeofday(timeval* __restrict now, void* __restrict) noexcept {
  const std::int64_t milliseconds = given().load();
  now->tv_sec = milliseconds / 1000;
  now->tv_usec = milliseconds % 1000 * 1000;
  return 0;
}

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) {
    return static_cast<int>(::syscall(SYS_clock_gettime, clock, now));
  }
  const std::int64_t milliseconds = given().load();
  now->tv_sec = milliseconds / 1000;
  now->tv_nsec = milliseconds % 1000 * 1'000'000;
  return 0;
}

time_t time(time_t* now) noexcept {
  const time_t seconds = given().load() / 1000;
  if (now != nullptr) *now = seconds;
  return seconds;
}
}
