#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <thread>

namespace redlatch::test {

/// The functions of the C library that may fail for want of something, or give less than they were
/// asked for. `resource_faults.cpp` has them in the place of libc's.
enum class Function {
  allocate,    // malloc, calloc, realloc: operator new, hiredis and OpenSSL call them
  descriptor,  // all that open one: by RLIMIT_NOFILE, for k - 1 of them there is room
  socket,
  event_fd,
  open_file,  // fopen: OpenSSL reads certificates with it
  create_thread,
  connect,
  get_option,  // getsockopt
  set_option,  // setsockopt
  control,     // fcntl
  own_name,    // getsockname
  peer_name,   // getpeername
  send,
  receive,
  poll,  // ppoll
  random,
  wait  // sem_clockwait, sem_wait
};

/// What becomes of a call of such a function.
struct Fault {
  Function function;
  int error = 0;           // errno; 0: see `is_short`
  bool is_short = false;   // one byte is sent, received or drawn
  bool is_closed = false;  // recv(2) returns 0
  bool lasts = false;      // all calls from the chosen one on, and not that one alone
  bool forks = false;      // does not fail: another thread forks at this moment

  std::string text() const;
};

/// From the construction on, the present thread, and each thread that is started by one of these,
/// are those whose calls count and may fail. Until the end of the object for the present thread,
/// for ever for the others.
class LibraryCalls {
 public:
  LibraryCalls();
  LibraryCalls(const LibraryCalls&) = delete;
  LibraryCalls& operator=(const LibraryCalls&) = delete;
  ~LibraryCalls();

 private:
  const bool before_;
};

/// The present thread does something for the test.
class OtherCalls {
 public:
  OtherCalls();
  OtherCalls(const OtherCalls&) = delete;
  OtherCalls& operator=(const OtherCalls&) = delete;
  ~OtherCalls();

 private:
  const bool before_;
};

/// Forks when a fault with `forks` strikes: see `ArmedFault`. In the child, calls `work`, and ends
/// it with its result, by `exit` or by `_exit`.
class Forker {
 public:
  enum class End { by_exit, at_once };
  Forker(std::function<int()> work, End end);
  Forker(const Forker&) = delete;
  Forker& operator=(const Forker&) = delete;
  /// Waits for the child.
  ~Forker() { wait(); }

  /// What the child has returned; 0 if there was none.
  int wait();

 private:
  int fork_once(const std::stop_token& stop) const;

  const std::function<int()> work_;
  const End end_;
  int status_ = 0;
  std::jthread thread_;
};

/// Lets the k-th of the calls (from 1) fail, until the end of the object.
class ArmedFault {
 public:
  ArmedFault(const Fault& fault, int k);
  ArmedFault(const ArmedFault&) = delete;
  ArmedFault& operator=(const ArmedFault&) = delete;
  ~ArmedFault() { disarm(); }

  static void disarm() noexcept;
  /// How many calls have failed.
  static int landed() noexcept;
};

}  // namespace redlatch::test
