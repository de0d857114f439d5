// The functions of the C library through which the library waits, talks and reads clocks. In a
// simulated thread they go to the world, in any other one to where they went without this file.

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstring>
#include <ctime>

#include "world.hpp"

using redlatch::test::SimTime;
using redlatch::test::World;

namespace {

template <class Function>
Function* real(const char* name, const char* version = nullptr) {
  void* const found =
      version == nullptr ? ::dlsym(RTLD_NEXT, name) : ::dlvsym(RTLD_NEXT, name, version);
  return reinterpret_cast<Function*>(found);
}
// Each is looked up once.
#define REAL(name)                                            \
  (*[] {                                                      \
    static auto* const found = real<decltype(::name)>(#name); \
    return found;                                             \
  }())
#define REAL_CONDITION(name)                                                 \
  (*[] {                                                                     \
    static auto* const found = real<decltype(::name)>(#name, "GLIBC_2.3.2"); \
    return found;                                                            \
  }())

SimTime time_in(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}
/// Wall clocks show another time, which goes as fast.
constexpr SimTime epoch = std::chrono::hours(24 * 365 * 50);
SimTime offset_of(clockid_t clock) { return clock == CLOCK_REALTIME ? epoch : SimTime{}; }

}  // namespace

extern "C" {

// Clocks

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(clock_gettime)(clock, time);
  world->step();
  const SimTime now = world->now() + offset_of(clock);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  *time = {.tv_sec = seconds.count(), .tv_nsec = (now - seconds).count()};
  return 0;
}

int nanosleep(const timespec* time, timespec* left) {
  World* const world = World::current();
  if (world == nullptr) return REAL(nanosleep)(time, left);
  world->sleep(time_in(*time));
  return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  World* const world = World::current();
  if (world == nullptr) return REAL(clock_nanosleep)(clock, flags, time, left);
  const SimTime wanted = time_in(*time);
  const bool is_absolute = (flags & TIMER_ABSTIME) != 0;
  world->sleep(is_absolute ? wanted - offset_of(clock) - world->now() : wanted);
  return 0;
}

int sched_yield() noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(sched_yield)();
  world->step();
  return 0;
}

// Threads

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(pthread_create)(thread, attributes, start, argument);
  return world->create_thread(thread, start, argument);
}

pthread_t pthread_self() noexcept {
  World* const world = World::current();
  return world == nullptr ? REAL(pthread_self)() : world->self();
}

/// A thread_local object of the calling thread has a destructor.
int __cxa_thread_atexit(void (*end)(void*), void* object, void* library) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(__cxa_thread_atexit)(end, object, library);
  world->at_thread_end(end, object);
  return 0;
}

/// Nothing here sends signals.
int pthread_sigmask(int how, const sigset_t* mask, sigset_t* before) noexcept {
  if (World::current() == nullptr) return REAL(pthread_sigmask)(how, mask, before);
  if (before != nullptr) sigemptyset(before);
  return 0;
}

int pthread_join(pthread_t thread, void** result) {
  World* const world = World::current();
  if (world == nullptr) return REAL(pthread_join)(thread, result);
  return world->join(thread, result);
}

int pthread_detach(pthread_t thread) noexcept {
  World* const world = World::current();
  return world == nullptr ? REAL(pthread_detach)(thread) : world->detach(thread);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(pthread_mutex_lock)(mutex);
  world->lock(mutex);
  return 0;
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(pthread_mutex_trylock)(mutex);
  return world->try_lock(mutex) ? 0 : EBUSY;
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(pthread_mutex_unlock)(mutex);
  world->unlock(mutex);
  return 0;
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  World* const world = World::current();
  if (world == nullptr) return REAL_CONDITION(pthread_cond_wait)(condition, mutex);
  world->wait_condition(condition, mutex, World::never);
  return 0;
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* until) {
  World* const world = World::current();
  if (world == nullptr) return REAL_CONDITION(pthread_cond_timedwait)(condition, mutex, until);
  const SimTime end = time_in(*until) - epoch;
  return world->wait_condition(condition, mutex, end) ? 0 : ETIMEDOUT;
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* until) {
  World* const world = World::current();
  if (world == nullptr) return REAL(pthread_cond_clockwait)(condition, mutex, clock, until);
  const SimTime end = time_in(*until) - offset_of(clock);
  return world->wait_condition(condition, mutex, end) ? 0 : ETIMEDOUT;
}

int pthread_cond_signal(pthread_cond_t* condition) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL_CONDITION(pthread_cond_signal)(condition);
  world->notify(condition, false);
  return 0;
}

int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL_CONDITION(pthread_cond_broadcast)(condition);
  world->notify(condition, true);
  return 0;
}

int sem_init(sem_t* semaphore, int shared, unsigned value) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(sem_init)(semaphore, shared, value);
  world->semaphore_begin(semaphore, value);
  return 0;
}

int sem_destroy(sem_t* semaphore) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(sem_destroy)(semaphore);
  world->semaphore_end(semaphore);
  return 0;
}

int sem_post(sem_t* semaphore) noexcept {
  World* const world = World::current();
  if (world == nullptr) return REAL(sem_post)(semaphore);
  world->post(semaphore);
  return 0;
}

int sem_wait(sem_t* semaphore) {
  World* const world = World::current();
  if (world == nullptr) return REAL(sem_wait)(semaphore);
  world->wait_semaphore(semaphore, World::never);
  return 0;
}

int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* until) {
  World* const world = World::current();
  if (world == nullptr) return REAL(sem_clockwait)(semaphore, clock, until);
  if (world->wait_semaphore(semaphore, time_in(*until) - offset_of(clock))) return 0;
  errno = ETIMEDOUT;
  return -1;
}

/// std::atomic's wait and notify.
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long words[6];
  for (long& word : words) word = va_arg(list, long);
  va_end(list);
  World* const world = World::current();
  if (world != nullptr && number == SYS_gettid) return world->thread_number();
  if (world == nullptr || number != SYS_futex) {
    return REAL(syscall)(number, words[0], words[1], words[2], words[3], words[4], words[5]);
  }
  const auto* const word = reinterpret_cast<const std::uint32_t*>(words[0]);
  const auto value = static_cast<std::uint32_t>(words[2]);
  const auto* const time = reinterpret_cast<const timespec*>(words[3]);
  switch (static_cast<int>(words[1]) & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
      world->wait_while_equal(word, value,
                              time == nullptr ? World::never : world->now() + time_in(*time));
      return 0;
    case FUTEX_WAIT_BITSET:
      if (world->wait_while_equal(word, value, time == nullptr ? World::never : time_in(*time))) {
        return 0;
      }
      errno = ETIMEDOUT;
      return -1;
    case FUTEX_WAKE:
      world->wake_word(word, value);
      return 1;
    default:
      errno = ENOSYS;
      return -1;
  }
}

// Descriptors

int eventfd(unsigned value, int flags) noexcept {
  World* const world = World::current();
  return world == nullptr ? REAL(eventfd)(value, flags) : world->open_event();
}

int eventfd_write(int fd, eventfd_t value) {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(eventfd_write)(fd, value);
  world->signal_event(fd);
  return 0;
}

int eventfd_read(int fd, eventfd_t* value) {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(eventfd_read)(fd, value);
  if (world->clear_event(fd)) return 0;
  errno = EAGAIN;
  return -1;
}

int socket(int domain, int type, int protocol) noexcept {
  World* const world = World::current();
  return world == nullptr ? REAL(socket)(domain, type, protocol) : world->open_socket();
}

int connect(int fd, const sockaddr* address, socklen_t size) {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(connect)(fd, address, size);
  sockaddr_in to{};
  std::memcpy(&to, address, sizeof to);
  return world->connect(fd, ntohs(to.sin_port));
}

ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(send)(fd, bytes, size, flags);
  return world->send(fd, bytes, size);
}

ssize_t recv(int fd, void* bytes, size_t size, int flags) {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(recv)(fd, bytes, size, flags);
  return world->receive(fd, bytes, size, (flags & MSG_DONTWAIT) == 0, (flags & MSG_PEEK) != 0);
}

int poll(pollfd* descriptors, nfds_t count, int time) {
  World* const world = World::current();
  if (world == nullptr) return REAL(poll)(descriptors, count, time);
  return world->poll(descriptors, count,
                     time < 0 ? World::never : world->now() + std::chrono::milliseconds(time));
}

int ppoll(pollfd* descriptors, nfds_t count, const timespec* time, const sigset_t* mask) {
  World* const world = World::current();
  if (world == nullptr) return REAL(ppoll)(descriptors, count, time, mask);
  return world->poll(descriptors, count,
                     time == nullptr ? World::never : world->now() + time_in(*time));
}

int close(int fd) {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(close)(fd);
  world->close(fd);
  return 0;
}

int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) {
    return REAL(fcntl64)(fd, command, argument);
  }
  if (command == F_SETFL) world->set_blocking(fd, (argument & O_NONBLOCK) == 0);
  return 0;
}
int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  return fcntl64(fd, command, argument);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) {
    return REAL(setsockopt)(fd, level, name, value, size);
  }
  if (level == SOL_SOCKET && name == SO_RCVTIMEO) {
    timeval time{};
    std::memcpy(&time, value, sizeof time);
    world->set_receive_time(
        fd, std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec));
  }
  return 0;
}

int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) {
    return REAL(getsockopt)(fd, level, name, value, size);
  }
  const int error = level == SOL_SOCKET && name == SO_ERROR ? world->error_of(fd) : 0;
  std::memcpy(value, &error, sizeof error);
  return 0;
}

// Each client has a port of its own: no connection leads to itself.
int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  World* const world = World::current();
  if (world == nullptr || !world->is_simulated(fd)) return REAL(getsockname)(fd, address, size);
  errno = ENOTCONN;
  return -1;
}

ssize_t getrandom(void* bytes, size_t size, unsigned flags) {
  World* const world = World::current();
  if (world == nullptr) return REAL(getrandom)(bytes, size, flags);
  auto* const place = static_cast<unsigned char*>(bytes);
  for (std::size_t i = 0; i < size; ++i) place[i] = static_cast<unsigned char>(world->random()());
  return static_cast<ssize_t>(size);
}

}  // extern "C"
