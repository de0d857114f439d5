#include "world.hpp"

#include <sys/single_threaded.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

namespace redlatch::test {
namespace {

thread_local World* world_of_thread = nullptr;
World* the_world = nullptr;

}  // namespace

struct World::Thread {
  int number = 0;
  int process = 0;
  const Process* its = nullptr;
  std::function<void*()> work{};
  std::optional<Fiber> fiber{};
  std::vector<std::pair<void (*)(void*), void*>> at_end{};  // the last goes first
  bool blocked = false;
  const void* on = nullptr;
  SimTime until = never;
  bool was_woken = false;
  const pollfd* polled = nullptr;
  std::size_t polled_count = 0;
  bool finished = false;
  bool is_detached = false;
  bool is_joined = false;
  void* result = nullptr;
};

World::World(std::uint64_t seed) : random_(seed) { the_world = this; }

World::~World() { the_world = nullptr; }

SimTime World::current_time() noexcept {
  return the_world == nullptr ? SimTime{} : the_world->now_;
}

World* World::current() noexcept { return world_of_thread; }

SimTime World::between(SimTime least, SimTime most) {
  return SimTime(std::uniform_int_distribution<std::int64_t>(least.count(), most.count())(random_));
}

void World::run(std::function<void()> main) {
  const int process = next_process_++;
  processes_[process] = {};
  Thread& thread = add_thread(process, [&] {
    main();
    return nullptr;
  });
  running_ = &thread;
  // The C++ library notifies no thread where it takes the calling one for the only one.
  __libc_single_threaded = 0;
  outside_.switch_to(*thread.fiber);
  running_ = nullptr;
}

int World::start_process(std::function<void()> main) {
  const int process = next_process_++;
  processes_[process] = {};
  add_thread(process, [main = std::move(main)] {
    main();
    return nullptr;
  });
  return process;
}

World::Thread& World::add_thread(int process, std::function<void*()> work) {
  std::erase_if(threads_, [](const Thread& one) {
    return one.finished && (one.is_joined || one.is_detached);
  });
  Thread& thread = threads_.emplace_back();
  thread.number = ++last_thread_;
  thread.process = process;
  thread.its = &processes_.at(process);
  thread.work = std::move(work);
  thread.fiber.emplace([this, &thread] { run_thread(thread); });
  living_.push_back(&thread);
  return thread;
}

void World::run_thread(Thread& thread) {
  world_of_thread = this;
  thread.result = thread.work();
  while (!thread.at_end.empty()) {
    const auto [end, object] = thread.at_end.back();
    thread.at_end.pop_back();
    end(object);
  }
  thread.finished = true;
  std::erase(living_, &thread);
  wake(&thread, true);
  const bool is_main = &thread == &threads_.front();
  if (is_main) thread.fiber->switch_to(outside_);
  switch_out();
}

void World::at_thread_end(void (*end)(void*), void* object) {
  running_->at_end.emplace_back(end, object);
}
pthread_t World::self() const noexcept { return handle_of(*running_); }
int World::thread_number() const noexcept { return running_->number; }

bool World::holds_mutex(int process) const {
  return std::ranges::any_of(mutexes_,
                             [&](const auto& one) { return one.second->process == process; });
}

bool World::freeze(int process) {
  if (holds_mutex(process)) return false;
  processes_.at(process).frozen = true;
  pass_on_wakes(process);
  return true;
}
void World::resume(int process) { processes_.at(process).frozen = false; }

bool World::kill(int process) {
  if (holds_mutex(process)) return false;
  processes_.at(process).alive = false;
  pass_on_wakes(process);
  std::erase_if(living_, [&](const Thread* one) { return one->process == process; });
  std::vector<int> open;
  for (const auto& [fd, one] : descriptors_) {
    if (one.process == process) open.push_back(fd);
  }
  for (const int fd : open) close(fd);
  return true;
}

/// Global mutexes are shared with other processes here: what has woken a thread that does not go on
/// wakes another one. Others are woken for nothing by that, which may happen at any time.
void World::pass_on_wakes(int process) {
  std::vector<const void*> woken_on;
  for (const Thread* const one : living_) {
    const bool is_woken = one->process == process && one->blocked && one->was_woken;
    if (is_woken) woken_on.push_back(one->on);
  }
  for (const void* const on : woken_on) wake(on, false);
}

std::size_t World::threads_of(int process) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(living_, [&](const Thread* one) { return one->process == process; }));
}

// The scheduler

bool World::is_ready(const Thread& thread) const {
  if (thread.its->frozen) return false;
  return !thread.blocked || thread.was_woken || thread.until <= now_;
}

/// To the next event or the next thread whose time is over. False if there is none.
bool World::advance() {
  SimTime next = never;
  for (const Thread* const one : living_) {
    if (one->its->frozen || !one->blocked) continue;
    next = std::min(next, one->until);
  }
  if (!events_.empty()) next = std::min(next, events_.front().time);
  if (next == never) return false;
  now_ = std::max(now_, next);
  return true;
}

/// For the eye, when nothing goes on.
void World::print_wait(const Thread& one) const {
  const auto mutex = mutexes_.find(one.on);
  std::fprintf(stderr, "  a thread of process %d%s, for ", one.process,
               one.its->frozen ? ", which is stopped" : "");
  if (mutex != mutexes_.end()) {
    std::fprintf(stderr, "a mutex of process %d\n", mutex->second->process);
  } else {
    std::fputs(semaphores_.contains(one.on) ? "a semaphore\n" : "a word or an end\n", stderr);
  }
}

/// The running thread waits, or has ended, or lets others go on.
void World::switch_out() {
  Thread* const self = running_;
  for (;;) {
    while (!events_.empty() && events_.front().time <= now_) {
      std::pop_heap(events_.begin(), events_.end(), std::greater<>());
      const auto function = std::move(events_.back().function);
      events_.pop_back();
      function();
    }
    ready_.clear();
    for (Thread* const one : living_) {
      if (is_ready(*one)) ready_.push_back(one);
    }
    if (!ready_.empty()) {
      running_ = ready_[below(ready_.size())];
      if (running_ != self) self->fiber->switch_to(*running_->fiber);
      return;
    }
    if (!advance()) {
      std::fprintf(stderr, "simulation: all threads wait for ever:\n");
      for (const Thread* const one : living_) print_wait(*one);
      ::_exit(3);
    }
  }
}

bool World::block(const void* on, SimTime until) {
  Thread& self = *running_;
  self.blocked = true;
  self.on = on;
  self.until = until;
  self.was_woken = false;
  switch_out();
  self.blocked = false;
  self.on = nullptr;
  return self.was_woken;
}

void World::wake(const void* on, bool all) {
  std::vector<Thread*> waiting;
  for (Thread* const one : living_) {
    if (one->blocked && !one->was_woken && one->on == on) waiting.push_back(one);
  }
  if (waiting.empty()) return;
  if (!all) {
    // One that does not go on is woken only if there is no other one.
    const auto others = std::ranges::partition(
        waiting, [](const Thread* one) { return one->its->alive && !one->its->frozen; });
    if (others.size() < waiting.size()) waiting.erase(others.begin(), others.end());
    waiting = {waiting[below(waiting.size())]};
  }
  for (Thread* one : waiting) one->was_woken = true;
}

void World::step() {
  now_ += SimTime(below(static_cast<std::uint64_t>(odds_.step.count())));
  if (happens(odds_.switches)) yield();
}

void World::yield() {
  running_->blocked = false;
  switch_out();
}

void World::sleep(SimTime time) {
  static const int nothing = 0;
  block(&nothing, now_ + time);
}

void World::at(SimTime time, std::function<void()> function) {
  events_.push_back({time, next_event_++, std::move(function)});
  std::push_heap(events_.begin(), events_.end(), std::greater<>());
}

// Threads and what they wait for

pthread_t World::handle_of(const Thread& thread) noexcept {
  return reinterpret_cast<pthread_t>(&thread);
}
World::Thread& World::thread_of(pthread_t handle) noexcept {
  return *reinterpret_cast<Thread*>(handle);
}

int World::create_thread(pthread_t* thread, void* (*start)(void*), void* argument) {
  *thread = handle_of(add_thread(running_->process, [start, argument] { return start(argument); }));
  step();
  return 0;
}

int World::join(pthread_t thread, void** result) {
  Thread& one = thread_of(thread);
  while (!one.finished) block(&one, never);
  if (result != nullptr) *result = one.result;
  one.is_joined = true;
  return 0;
}

int World::detach(pthread_t thread) {
  thread_of(thread).is_detached = true;
  step();
  return 0;
}

void World::lock(const void* mutex) {
  step();
  while (mutexes_.contains(mutex)) block(mutex, never);
  mutexes_[mutex] = running_;
}

bool World::try_lock(const void* mutex) {
  step();
  return mutexes_.try_emplace(mutex, running_).second;
}

void World::unlock(const void* mutex) {
  mutexes_.erase(mutex);
  wake(mutex, false);
  step();
}

bool World::wait_condition(const void* condition, const void* mutex, SimTime until) {
  mutexes_.erase(mutex);
  wake(mutex, false);
  const bool notified = block(condition, until);
  lock(mutex);
  return notified;
}

void World::notify(const void* condition, bool all) {
  wake(condition, all);
  step();
}

void World::semaphore_begin(const void* semaphore, unsigned value) {
  semaphores_[semaphore] = value;
}
void World::semaphore_end(const void* semaphore) { semaphores_.erase(semaphore); }

void World::post(const void* semaphore) {
  ++semaphores_[semaphore];
  wake(semaphore, false);
  step();
}

bool World::wait_semaphore(const void* semaphore, SimTime until) {
  step();
  while (semaphores_[semaphore] == 0) {
    if (now_ >= until) return false;
    block(semaphore, until);
  }
  --semaphores_[semaphore];
  return true;
}

bool World::wait_while_equal(const std::uint32_t* word, std::uint32_t value, SimTime until) {
  if (std::atomic_ref(*const_cast<std::uint32_t*>(word)).load() != value) return true;
  return block(word, until);
}

void World::wake_word(const std::uint32_t* word, std::uint64_t count) {
  wake(word, count > 1);
  step();
}

// Descriptors

bool World::is_simulated(int fd) const noexcept { return fd >= 1'000'000; }

int World::open_event() {
  const int fd = next_fd_++;
  descriptors_[fd] = {.kind = Descriptor::Kind::event, .process = running_->process};
  return fd;
}

void World::signal_event(int fd) {
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end()) return;
  ++found->second.count;
  fd_changed(fd);
  step();
}

bool World::clear_event(int fd) {
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end() || found->second.count == 0) return false;
  found->second.count = 0;
  return true;
}

int World::open_socket() {
  step();
  const int fd = next_fd_++;
  descriptors_[fd] = {.kind = Descriptor::Kind::socket, .process = running_->process};
  return fd;
}

SimTime World::latency() { return between(odds_.min_latency, odds_.max_latency); }

int World::connect(int fd, std::uint16_t port) {
  step();
  Descriptor& one = descriptors_.at(fd);
  auto link = std::make_shared<Link>();
  link->number = next_link_++;
  link->port = port;
  link->fd = fd;
  one.link = link;
  one.connecting = true;
  at(now_ + 2 * latency(), [this, fd, link] {
    const auto found = descriptors_.find(fd);
    if (found == descriptors_.end() || found->second.link != link) return;
    const auto server = servers_.find(link->port);
    found->second.connecting = false;
    if (server == servers_.end() || !server->second.runs) {
      found->second.error = ECONNREFUSED;
      link->client_reset = true;
    } else {
      found->second.connected = true;
      links_.push_back(link);
      deliver_to_server(link);
    }
    fd_changed(fd);
  });
  errno = EINPROGRESS;
  return -1;
}

ssize_t World::send(int fd, const void* bytes, std::size_t size) {
  step();
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end()) return errno = EBADF, -1;
  Link* const link = found->second.link.get();
  if (link == nullptr || !found->second.connected) return errno = ENOTCONN, -1;
  if (link->client_reset) return errno = ECONNRESET, -1;
  SimTime arrives = std::max(now_ + latency(), link->stalled_to_server);
  if (!link->to_server.empty()) arrives = std::max(arrives, link->to_server.back().arrives);
  link->to_server.push_back({arrives, std::string(static_cast<const char*>(bytes), size)});
  at(arrives, [this, shared = found->second.link] { deliver_to_server(shared); });
  return static_cast<ssize_t>(size);
}

ssize_t World::receive(int fd, void* bytes, std::size_t size, bool waits, bool peeks) {
  step();
  const auto began = now_;
  for (;;) {
    const auto found = descriptors_.find(fd);
    if (found == descriptors_.end()) return errno = EBADF, -1;
    Descriptor& one = found->second;
    Link* const link = one.link.get();
    if (link == nullptr || !one.connected) return errno = ENOTCONN, -1;
    if (!link->arrived.empty()) {
      const std::size_t count = std::min(size, link->arrived.size());
      std::memcpy(bytes, link->arrived.data(), count);
      if (!peeks) link->arrived.erase(0, count);
      return static_cast<ssize_t>(count);
    }
    if (link->client_reset) return errno = ECONNRESET, -1;
    if (link->server_closed && link->to_client.empty()) return 0;
    if (!waits || !one.blocks) return errno = EAGAIN, -1;
    const SimTime until = one.receive_time == SimTime{} ? never : began + one.receive_time;
    if (now_ >= until) return errno = EAGAIN, -1;
    pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
    poll(&wanted, 1, until);
  }
}

short World::events_of(int fd, short wanted) const {
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end()) return POLLNVAL;
  const Descriptor& one = found->second;
  if (one.kind == Descriptor::Kind::event) {
    return static_cast<short>(one.count > 0 ? wanted & POLLIN : 0);
  }
  short events = 0;
  const Link* const link = one.link.get();
  if (link == nullptr) return 0;
  const bool is_over = link->client_reset || (link->server_closed && link->to_client.empty());
  if (!link->arrived.empty() || is_over) events |= POLLIN;
  if (one.connected || one.error != 0) events |= POLLOUT;
  events = static_cast<short>(events & wanted);
  if (link->client_reset) events |= POLLERR | POLLHUP;
  return events;
}

int World::poll(pollfd* descriptors, std::size_t count, SimTime until) {
  step();
  Thread& self = *running_;
  for (;;) {
    int ready = 0;
    for (std::size_t i = 0; i < count; ++i) {
      pollfd& one = descriptors[i];
      one.revents = one.fd < 0 ? short{0} : events_of(one.fd, one.events);
      if (one.revents != 0) ++ready;
    }
    if (ready > 0 || now_ >= until) return ready;
    self.polled = descriptors;
    self.polled_count = count;
    block(&self.polled, until);
    self.polled = nullptr;
  }
}

void World::fd_changed(int fd) {
  for (Thread* const one : living_) {
    if (one->polled == nullptr) continue;
    for (std::size_t i = 0; i < one->polled_count; ++i) {
      if (one->polled[i].fd == fd) one->was_woken = true;
    }
  }
}

void World::close(int fd) {
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end()) return;
  const std::shared_ptr<Link> link = found->second.link;
  descriptors_.erase(found);
  fd_changed(fd);
  if (!link) return;
  link->fd = -1;
  link->client_closed = true;
  SimTime arrives = std::max(now_ + latency(), link->stalled_to_server);
  if (!link->to_server.empty()) arrives = std::max(arrives, link->to_server.back().arrives);
  link->client_closed_at = arrives;
  at(arrives, [this, link] { deliver_to_server(link); });
}

int World::error_of(int fd) {
  const auto found = descriptors_.find(fd);
  return found == descriptors_.end() ? EBADF : std::exchange(found->second.error, 0);
}
void World::set_blocking(int fd, bool blocks) { descriptors_.at(fd).blocks = blocks; }
void World::set_receive_time(int fd, SimTime time) { descriptors_.at(fd).receive_time = time; }
std::uint16_t World::port_of(int fd) const {
  const auto found = descriptors_.find(fd);
  return found == descriptors_.end() || !found->second.link ? std::uint16_t{0}
                                                            : found->second.link->port;
}

// Servers and the network

void World::serve(std::uint16_t port, Peer& peer) { servers_[port] = {.peer = &peer}; }
void World::stop_server(std::uint16_t port) { servers_.at(port).stopped = true; }

void World::continue_server(std::uint16_t port) {
  servers_.at(port).stopped = false;
  for (const auto& link : std::vector(links_)) {
    if (link->port == port) deliver_to_server(link);
  }
}

void World::end_server(std::uint16_t port) {
  Server& server = servers_.at(port);
  server.runs = server.stopped = false;
  for (const auto& link : std::vector(links_)) {
    if (link->port != port || link->server_gone) continue;
    link->server_gone = true;
    if (link->is_accepted) server.peer->disconnect(link->peer);
    at(now_ + latency(), [this, link] {
      link->client_reset = true;
      fd_changed(link->fd);
    });
  }
}

void World::start_server(std::uint16_t port) { servers_.at(port).runs = true; }
void World::poll_server(std::uint16_t port) { collect(port); }

std::size_t World::connections() const { return links_.size(); }

std::shared_ptr<World::Link> World::link_at(std::size_t number) const { return links_.at(number); }

void World::stall(std::size_t connection, Direction direction, SimTime time) {
  const auto link = link_at(connection);
  const SimTime until = now_ + time;
  if (direction != Direction::to_client) {
    link->stalled_to_server = until;
    for (Packet& one : link->to_server) one.arrives = std::max(one.arrives, until);
    at(until, [this, link] { deliver_to_server(link); });
  }
  if (direction != Direction::to_server) {
    link->stalled_to_client = until;
    for (Packet& one : link->to_client) one.arrives = std::max(one.arrives, until);
    at(until, [this, link] { deliver_to_client(link); });
  }
}

void World::cut(std::size_t connection, SimTime notices_after) {
  const auto link = link_at(connection);
  link->client_reset = true;
  link->arrived.clear();
  fd_changed(link->fd);
  // What was on its way may arrive.
  at(now_ + notices_after, [this, link] {
    if (link->server_gone) return;
    link->server_gone = true;
    if (link->is_accepted) servers_.at(link->port).peer->disconnect(link->peer);
    std::erase(links_, link);
  });
}

void World::deliver_to_server(const std::shared_ptr<Link>& link) {
  Server& server = servers_.at(link->port);
  if (!server.runs || server.stopped || link->server_gone) return;
  if (!std::exchange(link->is_accepted, true)) link->peer = server.peer->connect();
  bool any = false;
  while (!link->to_server.empty() && link->to_server.front().arrives <= now_) {
    server.peer->receive(link->peer, link->to_server.front().bytes);
    link->to_server.pop_front();
    any = true;
  }
  if (link->client_closed && link->to_server.empty() && link->client_closed_at <= now_) {
    server.peer->disconnect(link->peer);
    link->server_gone = true;
    std::erase(links_, link);
  }
  if (any) collect(link->port);
}

/// What the server has sent goes on its way.
void World::collect(std::uint16_t port) {
  Peer& peer = *servers_.at(port).peer;
  for (const Peer::Connection one : peer.with_output()) {
    const auto link = std::ranges::find_if(links_, [&](const auto& other) {
      return other->port == port && other->is_accepted && other->peer == one && !other->server_gone;
    });
    std::string bytes = peer.take_output(one);
    if (link != links_.end()) send_to_client(**link, std::move(bytes));
  }
  for (const auto& link : std::vector(links_)) {
    if (link->port != port || !link->is_accepted || link->server_gone) continue;
    if (!peer.is_closed(link->peer)) continue;
    link->server_gone = true;
    peer.disconnect(link->peer);
    SimTime arrives = std::max(now_ + latency(), link->stalled_to_client);
    if (!link->to_client.empty()) arrives = std::max(arrives, link->to_client.back().arrives);
    at(arrives, [this, link] {
      link->server_closed = true;
      fd_changed(link->fd);
    });
  }
}

void World::send_to_client(Link& link, std::string bytes) {
  SimTime arrives = std::max(now_ + latency(), link.stalled_to_client);
  if (!link.to_client.empty()) arrives = std::max(arrives, link.to_client.back().arrives);
  link.to_client.push_back({arrives, std::move(bytes)});
  const auto shared =
      *std::ranges::find_if(links_, [&](const auto& one) { return one.get() == &link; });
  at(arrives, [this, shared] { deliver_to_client(shared); });
}

void World::deliver_to_client(const std::shared_ptr<Link>& link) {
  const auto fd = descriptors_.find(link->fd);
  while (!link->to_client.empty() && link->to_client.front().arrives <= now_) {
    const Packet packet = std::move(link->to_client.front());
    link->to_client.pop_front();
    if (link->client_reset || fd == descriptors_.end()) continue;
    link->arrived += packet.bytes;
    link->delivered += packet.bytes.size();
    servers_.at(link->port).peer->arrived(link->peer, link->delivered, fd->second.process);
  }
  fd_changed(link->fd);
}

}  // namespace redlatch::test
