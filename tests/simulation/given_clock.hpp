#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <system_error>

#include "temporary_directory.hpp"

namespace redlatch::test {

/// The wall clock of server processes: it stands still until it is set. A server that is started
/// while there is a `Preloaded` has it for all of its life.
class GivenClock {
 public:
  explicit GivenClock(std::chrono::milliseconds now) {
    const int file = ::open(path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ::ftruncate(file, sizeof(std::int64_t)) != 0) fail();
    void* const page =
        ::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    if (page == MAP_FAILED) fail();
    milliseconds_ = new (page) std::atomic<std::int64_t>(now.count());
  }
  GivenClock(const GivenClock&) = delete;
  GivenClock& operator=(const GivenClock&) = delete;
  ~GivenClock() { ::munmap(milliseconds_, sizeof(std::int64_t)); }

  std::chrono::milliseconds now() const { return std::chrono::milliseconds(milliseconds_->load()); }
  void set(std::chrono::milliseconds now) { milliseconds_->store(now.count()); }

  class Preloaded {
   public:
    /// `library`: the path of given_clock_preload.
    Preloaded(const GivenClock& clock, const char* library) {
      ::setenv("REDLATCH_GIVEN_CLOCK", clock.path().c_str(), 1);
      ::setenv("LD_PRELOAD", library, 1);
    }
    Preloaded(const Preloaded&) = delete;
    Preloaded& operator=(const Preloaded&) = delete;
    ~Preloaded() {
      ::unsetenv("LD_PRELOAD");
      ::unsetenv("REDLATCH_GIVEN_CLOCK");
    }
  };

 private:
  [[noreturn]] static void fail() {
    throw std::system_error(errno, std::generic_category(), "a clock for a server");
  }
  std::string path() const { return directory_.path() + "/clock"; }

  TemporaryDirectory directory_{};
  std::atomic<std::int64_t>* milliseconds_ = nullptr;
};

}  // namespace redlatch::test
