#pragma once

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "fiber.hpp"

namespace redlatch::test {

using SimTime = std::chrono::nanoseconds;

/// What a simulated connection leads to: a server without sockets.
class Peer {
 public:
  using Connection = std::uint64_t;
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  virtual ~Peer() = default;
  virtual Connection connect() = 0;
  virtual void receive(Connection connection, std::string_view bytes) = 0;
  virtual std::string take_output(Connection connection) = 0;
  virtual std::vector<Connection> with_output() const = 0;
  virtual bool is_closed(Connection connection) const = 0;
  virtual void disconnect(Connection connection) = 0;
  /// So many bytes of its output are at the client by now, in this process.
  virtual void arrived(Connection /*connection*/, std::uint64_t /*bytes*/, int /*process*/) {}
};

/// A simulated machine room: a clock, threads, processes and a network, all from one seed.
///
/// The library runs in it as it is. Its system calls and those of the C++ library (mutexes,
/// condition variables, semaphores, threads, clocks, sockets, poll) are interposed
/// (interpose.cpp) and come here when a simulated thread makes them. A simulated thread is a fiber:
/// all of them run on one real thread, one at a time, and the scheduler chooses the next one, at
/// random, at such a call. The clock stands still while a thread runs, but for some microseconds
/// for each call, and jumps to the next event when all threads wait.
///
/// One world exists in a process. What a killed process or a deadlock leaves behind ends with it.
class World {
 public:
  struct Odds {
    double switches = 0.1;        // that another thread goes on at a call that need not wait
    SimTime step{2'000};          // at most, for each call
    SimTime min_latency{20'000};  // of the network, one way
    SimTime max_latency{400'000};
  };

  explicit World(std::uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  /// Runs `main` as a thread of process 0, and returns when that has ended. Other threads are not
  /// waited for.
  void run(std::function<void()> main);

  /// Null where no simulated thread runs.
  static World* current() noexcept;

  SimTime now() const noexcept { return now_; }
  /// Of the world that runs; on any thread.
  static SimTime current_time() noexcept;
  std::mt19937_64& random() noexcept { return random_; }
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool happens(double odds) { return std::uniform_real_distribution<>(0, 1)(random_) < odds; }
  SimTime between(SimTime least, SimTime most);
  Odds& odds() noexcept { return odds_; }

  // Processes

  /// Starts a thread of a new process.
  int start_process(std::function<void()> main);
  /// As SIGSTOP: none of its threads runs until `resume`. False, with no effect, while one of them
  /// holds a mutex: what processes have of their own, such as global objects, they share here.
  bool freeze(int process);
  void resume(int process);
  /// As SIGKILL: its threads never run again, and its connections are closed. False as `freeze`.
  bool kill(int process);
  bool is_alive(int process) const { return processes_.at(process).alive; }
  /// The threads of the process that have not ended.
  std::size_t threads_of(int process) const;

  // Servers. The peer has to outlive the world.

  void serve(std::uint16_t port, Peer& peer);
  /// As SIGSTOP: connections are accepted by the system, and bytes wait.
  void stop_server(std::uint16_t port);
  void continue_server(std::uint16_t port);
  /// Connections are refused, and those that there are are reset.
  void end_server(std::uint16_t port);
  void start_server(std::uint16_t port);
  /// Takes what the peer has to send without having been sent something: its timers, or messages.
  void poll_server(std::uint16_t port);

  // The network, for each connection that there is.

  enum class Direction { to_server, to_client, both };
  std::size_t connections() const;
  /// Bytes on the way, and later ones, arrive after so long. The connection stays.
  void stall(std::size_t connection, Direction direction, SimTime time);
  /// Both ends are reset, the client's at once and the server's later by `notices_after`.
  void cut(std::size_t connection, SimTime notices_after);

  /// Calls the function at that time, on no thread: it must not wait.
  void at(SimTime time, std::function<void()> function);
  void sleep(SimTime time);

  // The system calls, for interpose.cpp.

  int create_thread(pthread_t* thread, void* (*start)(void*), void* argument);
  int join(pthread_t thread, void** result);
  int detach(pthread_t thread);
  pthread_t self() const noexcept;
  /// Instead of the system's.
  int thread_number() const noexcept;
  /// Calls the function for the object when the running thread ends.
  void at_thread_end(void (*end)(void*), void* object);
  void lock(const void* mutex);
  bool try_lock(const void* mutex);
  void unlock(const void* mutex);
  bool wait_condition(const void* condition, const void* mutex, SimTime until);
  void notify(const void* condition, bool all);
  void semaphore_begin(const void* semaphore, unsigned value);
  void semaphore_end(const void* semaphore);
  void post(const void* semaphore);
  bool wait_semaphore(const void* semaphore, SimTime until);
  bool wait_while_equal(const std::uint32_t* word, std::uint32_t value, SimTime until);
  void wake_word(const std::uint32_t* word, std::uint64_t count);

  bool is_simulated(int fd) const noexcept;
  int open_event();
  void signal_event(int fd);
  bool clear_event(int fd);
  int open_socket();
  int connect(int fd, std::uint16_t port);
  ssize_t send(int fd, const void* bytes, std::size_t size);
  ssize_t receive(int fd, void* bytes, std::size_t size, bool waits, bool peeks);
  int poll(pollfd* descriptors, std::size_t count, SimTime until);
  void close(int fd);
  int error_of(int fd);
  void set_blocking(int fd, bool blocks);
  void set_receive_time(int fd, SimTime time);
  std::uint16_t port_of(int fd) const;
  /// At a call that need not wait.
  void step();

  static constexpr SimTime never = SimTime::max();

 private:
  struct Thread;
  struct Process {
    bool alive = true;
    bool frozen = false;
  };
  struct Packet {
    SimTime arrives;
    std::string bytes;
  };
  struct Server {
    Peer* peer = nullptr;
    bool runs = true;
    bool stopped = false;
  };
  /// A connection. What is under way arrives in order.
  struct Link {
    std::uint64_t number;
    std::uint16_t port;
    int fd;  // of the client; -1: closed
    Peer::Connection peer = 0;
    bool is_accepted = false;  // by the server's process
    bool client_reset = false;
    bool server_gone = false;    // closed or reset at the server
    bool server_closed = false;  // seen by the client once all bytes have come
    std::deque<Packet> to_server{};
    std::deque<Packet> to_client{};
    std::string arrived{};        // at the client
    std::uint64_t delivered = 0;  // of bytes that have arrived there
    SimTime stalled_to_server{};
    SimTime stalled_to_client{};
    bool client_closed = false;
    SimTime client_closed_at{};
  };
  struct Descriptor {
    enum class Kind { event, socket } kind;
    int process;
    std::uint64_t count = 0;  // of an event
    std::shared_ptr<Link> link{};
    bool connecting = false;
    bool connected = false;
    int error = 0;
    bool blocks = false;
    SimTime receive_time{};
  };
  struct Event {
    SimTime time;
    std::uint64_t order;
    std::function<void()> function;
    bool operator>(const Event& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };

  bool holds_mutex(int process) const;
  void pass_on_wakes(int process);
  Thread& add_thread(int process, std::function<void*()> work);
  void run_thread(Thread& thread);
  static pthread_t handle_of(const Thread& thread) noexcept;
  static Thread& thread_of(pthread_t handle) noexcept;
  bool block(const void* on, SimTime until);
  void wake(const void* on, bool all);
  void switch_out();
  void yield();
  bool is_ready(const Thread& thread) const;
  void print_wait(const Thread& one) const;
  bool advance();
  void fd_changed(int fd);
  short events_of(int fd, short wanted) const;
  void deliver_to_server(const std::shared_ptr<Link>& link);
  void deliver_to_client(const std::shared_ptr<Link>& link);
  void collect(std::uint16_t port);
  void send_to_client(Link& link, std::string bytes);
  std::shared_ptr<Link> link_at(std::size_t number) const;
  SimTime latency();

  std::mt19937_64 random_;
  SimTime now_{std::chrono::hours(1000)};
  Odds odds_{};
  std::list<Thread> threads_;
  int last_thread_ = 0;
  std::vector<Thread*> living_{};  // those that have not ended, and may still run
  std::vector<Thread*> ready_{};   // of these, while one of them is chosen
  Thread* running_ = nullptr;
  Fiber outside_{};  // the thread that has called `run`
  std::map<int, Process> processes_;
  int next_process_ = 0;
  std::map<const void*, const Thread*> mutexes_;
  std::map<const void*, unsigned> semaphores_;
  std::map<int, Descriptor> descriptors_;
  int next_fd_ = 1'000'000;
  std::map<std::uint16_t, Server> servers_;
  std::vector<std::shared_ptr<Link>> links_;
  std::uint64_t next_link_ = 0;
  std::vector<Event> events_;
  std::uint64_t next_event_ = 0;
};

}  // namespace redlatch::test
