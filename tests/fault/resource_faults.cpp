#include "resource_faults.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "child.hpp"

using redlatch::test::Fault;
using redlatch::test::Function;

namespace {

/// What is armed. The other members are written before `function`, which is -1 while nothing is.
struct Armed {
  std::atomic<int> function = -1;
  int k = 0;
  Fault fault{};
  std::atomic<int> calls = 0;
  std::atomic<int> landed = 0;
  rlim_t usual_limit = 0;
};
constinit Armed armed{};

thread_local constinit bool counts = false;
/// Inside of something that glibc does for itself, and ends the program if it fails.
thread_local constinit bool passes = false;

/// From 0 to 1 by the call at which a thread is to fork, and to 2 by that thread when it has.
std::atomic<int> forking = 0;

/// Until the other thread has forked, which waits for mutexes that this one may have.
void let_fork() noexcept {
  constexpr timespec pause{.tv_sec = 0, .tv_nsec = 100'000};
  constexpr int max_pauses = 20;
  forking = 1;
  for (int i = 0; i < max_pauses && forking == 1; ++i) ::nanosleep(&pause, nullptr);
}

/// The fault of this call; null: none.
const Fault* strike(Function function) noexcept {
  if (!counts || passes || armed.function != static_cast<int>(function)) return nullptr;
  const int call = ++armed.calls;
  if (armed.fault.lasts ? call < armed.k : call != armed.k) return nullptr;
  ++armed.landed;
  if (!armed.fault.forks) return &armed.fault;
  let_fork();
  return nullptr;
}

template <class Result>
Result fail_with(int error, Result result) noexcept {
  errno = error;
  return result;
}

/// Counts a descriptor that was refused for the limit.
int note_limit(int fd) noexcept {
  if (fd < 0 && errno == EMFILE && armed.function == static_cast<int>(Function::descriptor)) {
    ++armed.landed;
  }
  return fd;
}

template <class Type>
Type* real(const char* name) noexcept {
  return reinterpret_cast<Type*>(::dlsym(RTLD_NEXT, name));
}
// Each is looked up once.
#define REAL(name)                                            \
  (*[] {                                                      \
    static auto* const found = real<decltype(::name)>(#name); \
    return found;                                             \
  }())

/// With which limit there is room for that many descriptors more.
rlim_t limit_for(int more) noexcept {
  int fd = 0;
  for (int free = 0; ::fcntl(fd, F_GETFD) >= 0 || free++ < more; ++fd) {
  }
  return static_cast<rlim_t>(fd);
}

/// Returns the limit before.
rlim_t limit_descriptors(rlim_t limit) noexcept {
  rlimit now{};
  ::getrlimit(RLIMIT_NOFILE, &now);
  const rlim_t before = std::exchange(now.rlim_cur, limit);
  ::setrlimit(RLIMIT_NOFILE, &now);
  return before;
}

/// A thread that was started by one whose calls count.
struct Started {
  void* (*start)(void*);
  void* argument;
};

void* start_counting(void* started) {
  auto* const given = static_cast<Started*>(started);
  const Started copy = *given;
  std::free(given);
  counts = true;
  return copy.start(copy.argument);
}

}  // namespace

namespace redlatch::test {

std::string Fault::text() const {
  constexpr const char* names[] = {
      "malloc",  "RLIMIT_NOFILE", "socket",     "eventfd",   "fopen",       "pthread_create",
      "connect", "getsockopt",    "setsockopt", "fcntl",     "getsockname", "getpeername",
      "send",    "recv",          "poll",       "getrandom", "sem_wait"};
  std::string text = names[static_cast<int>(function)];
  text += forks       ? " and a fork"
          : is_short  ? " of a byte"
          : is_closed ? " of an end"
                      : std::string(" ") + ::strerrorname_np(error);
  return lasts ? text + " from then on" : text;
}

LibraryCalls::LibraryCalls() : before_(std::exchange(counts, true)) {}
LibraryCalls::~LibraryCalls() { counts = before_; }

OtherCalls::OtherCalls() : before_(std::exchange(counts, false)) {}
OtherCalls::~OtherCalls() { counts = before_; }

Forker::Forker(std::function<int()> work, End end)
    : work_(std::move(work)), end_(end), thread_([this](const std::stop_token& stop) {
        const OtherCalls others;
        status_ = fork_once(stop);
      }) {}

int Forker::wait() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  return status_;
}

int Forker::fork_once(const std::stop_token& stop) const {
  while (forking != 1) {
    if (stop.stop_requested()) return 0;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 101;
    try {
      status = work_();
    } catch (...) {
      // Has its status.
    }
    if (end_ == End::by_exit) std::exit(status);
    ::_exit(status);
  }
  forking = 2;
  return child < 0 ? -1 : status_of(child);
}

ArmedFault::ArmedFault(const Fault& fault, int k) {
  armed.fault = fault;
  armed.k = k;
  armed.calls = 0;
  armed.landed = 0;
  forking = 0;
  if (fault.function == Function::descriptor) {
    armed.usual_limit = limit_descriptors(limit_for(k - 1));
  }
  armed.function = static_cast<int>(fault.function);
}

void ArmedFault::disarm() noexcept {
  if (armed.function == static_cast<int>(Function::descriptor)) {
    limit_descriptors(armed.usual_limit);
  }
  armed.function = -1;
}
int ArmedFault::landed() noexcept { return armed.landed; }

}  // namespace redlatch::test

extern "C" {

void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* memory, std::size_t size) noexcept;

void* malloc(std::size_t size) noexcept {
  const Fault* const fault = strike(Function::allocate);
  return fault != nullptr ? fail_with<void*>(ENOMEM, nullptr) : __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) noexcept {
  const Fault* const fault = strike(Function::allocate);
  return fault != nullptr ? fail_with<void*>(ENOMEM, nullptr) : __libc_calloc(count, size);
}

void* realloc(void* memory, std::size_t size) noexcept {
  const Fault* const fault = strike(Function::allocate);
  return fault != nullptr ? fail_with<void*>(ENOMEM, nullptr) : __libc_realloc(memory, size);
}

/// Registers the destructor of a thread's own variable; glibc ends the program without memory.
int __cxa_thread_atexit_impl(void (*destructor)(void*), void* object, void* library) {
  using Type = int(void (*)(void*), void*, void*);
  static auto* const found = real<Type>("__cxa_thread_atexit_impl");
  passes = true;
  const int result = found(destructor, object, library);
  passes = false;
  return result;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  if (!counts) return REAL(pthread_create)(thread, attributes, start, argument);
  if (const Fault* const fault = strike(Function::create_thread)) return fault->error;
  passes = true;
  auto* const started = static_cast<Started*>(std::malloc(sizeof(Started)));
  *started = {start, argument};
  passes = false;
  const int error = REAL(pthread_create)(thread, attributes, start_counting, started);
  if (error != 0) std::free(started);
  return error;
}

int socket(int family, int type, int protocol) noexcept {
  const Fault* const fault = strike(Function::socket);
  return note_limit(fault != nullptr ? fail_with(fault->error, -1)
                                     : REAL(socket)(family, type, protocol));
}

int eventfd(unsigned count, int flags) noexcept {
  const Fault* const fault = strike(Function::event_fd);
  return note_limit(fault != nullptr ? fail_with(fault->error, -1) : REAL(eventfd)(count, flags));
}

FILE* fopen(const char* path, const char* mode) {
  const Fault* const fault = strike(Function::open_file);
  return fault != nullptr ? fail_with<FILE*>(fault->error, nullptr) : REAL(fopen)(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  const Fault* const fault = strike(Function::open_file);
  return fault != nullptr ? fail_with<FILE*>(fault->error, nullptr) : REAL(fopen64)(path, mode);
}

int connect(int fd, const sockaddr* address, socklen_t size) {
  const Fault* const fault = strike(Function::connect);
  if (fault == nullptr) return REAL(connect)(fd, address, size);
  // A signal does not end the attempt.
  if (fault->error == EINTR) REAL(connect)(fd, address, size);
  return fail_with(fault->error, -1);
}

int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  const Fault* const fault = strike(Function::get_option);
  return fault != nullptr ? fail_with(fault->error, -1)
                          : REAL(getsockopt)(fd, level, name, value, size);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  const Fault* const fault = strike(Function::set_option);
  return fault != nullptr ? fail_with(fault->error, -1)
                          : REAL(setsockopt)(fd, level, name, value, size);
}

int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  const Fault* const fault = strike(Function::own_name);
  return fault != nullptr ? fail_with(fault->error, -1) : REAL(getsockname)(fd, address, size);
}

int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept {
  const Fault* const fault = strike(Function::peer_name);
  return fault != nullptr ? fail_with(fault->error, -1) : REAL(getpeername)(fd, address, size);
}

int fcntl64(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  const Fault* const fault = strike(Function::control);
  return fault != nullptr ? fail_with(fault->error, -1) : REAL(fcntl64)(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  const Fault* const fault = strike(Function::control);
  return fault != nullptr ? fail_with(fault->error, -1) : REAL(fcntl)(fd, command, argument);
}

ssize_t send(int fd, const void* bytes, std::size_t size, int flags) {
  const Fault* const fault = strike(Function::send);
  if (fault == nullptr) return REAL(send)(fd, bytes, size, flags);
  return fault->is_short ? REAL(send)(fd, bytes, 1, flags) : fail_with(fault->error, ssize_t{-1});
}

ssize_t recv(int fd, void* room, std::size_t size, int flags) {
  const Fault* const fault = strike(Function::receive);
  if (fault == nullptr) return REAL(recv)(fd, room, size, flags);
  if (fault->is_closed) return 0;
  return fault->is_short ? REAL(recv)(fd, room, 1, flags) : fail_with(fault->error, ssize_t{-1});
}

int poll(pollfd* descriptors, nfds_t count, int time) {
  const Fault* const fault = strike(Function::poll);
  return fault != nullptr ? fail_with(fault->error, -1) : REAL(poll)(descriptors, count, time);
}

int ppoll(pollfd* descriptors, nfds_t count, const timespec* time, const sigset_t* mask) {
  const Fault* const fault = strike(Function::poll);
  return fault != nullptr ? fail_with(fault->error, -1)
                          : REAL(ppoll)(descriptors, count, time, mask);
}

ssize_t getrandom(void* room, std::size_t size, unsigned flags) {
  const Fault* const fault = strike(Function::random);
  if (fault == nullptr) return REAL(getrandom)(room, size, flags);
  return fault->is_short ? REAL(getrandom)(room, 1, flags) : fail_with(fault->error, ssize_t{-1});
}

int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* time) {
  const Fault* const fault = strike(Function::wait);
  return fault != nullptr ? fail_with(fault->error, -1)
                          : REAL(sem_clockwait)(semaphore, clock, time);
}

int sem_wait(sem_t* semaphore) {
  const Fault* const fault = strike(Function::wait);
  return fault != nullptr ? fail_with(fault->error, -1) : REAL(sem_wait)(semaphore);
}

}  // extern "C"
