#include "proxy.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "loopback.hpp"

namespace redlatch::test {
Proxy::Proxy(std::string server_socket)
    : server_socket_(std::move(server_socket)),
      listener_(listen_on_loopback(port_)),
      wake_up_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([this] { run(); });
}

Proxy::~Proxy() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake();
  thread_.join();
  close_all(links_);
  ::close(listener_);
  ::close(wake_up_);
}

void Proxy::arm(const Fault& fault) {
  {
    const std::lock_guard lock(mutex_);
    close_all(links_);
    armed_ = fault;
    struck_ = false;
  }
  wake();
}

void Proxy::release() {
  {
    const std::lock_guard lock(mutex_);
    for (Link& link : links_) link.stalled = false;
  }
  wake();
}

void Proxy::stall(std::size_t but_newest) {
  {
    const std::lock_guard lock(mutex_);
    std::size_t left = links_.size();
    for (Link& link : links_) link.stalled = left-- > but_newest;
  }
  wake();
}

bool Proxy::holds(std::string_view text) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(links_.begin(), links_.end(), [&](const Link& link) {
    const std::string& waiting = link.client.waiting;
    return link.stalled && !waiting.empty() && waiting.find(text) != std::string::npos;
  });
}

void Proxy::arm_newest(const Fault& fault) {
  {
    const std::lock_guard lock(mutex_);
    struck_ = false;
    traffic_ = {};
    for (Link& link : links_) link.recorded = false;
    if (links_.empty()) return;
    links_.back().recorded = true;
    arm_link(links_.back(), fault);
  }
  wake();
}

void Proxy::arm_oldest(const Fault& fault) {
  {
    const std::lock_guard lock(mutex_);
    struck_ = false;
    if (!links_.empty()) arm_link(links_.front(), fault);
  }
  wake();
}

void Proxy::arm_link(Link& link, const Fault& fault) {
  link.fault = fault;
  link.fault->after +=
      fault.direction == Direction::request ? link.client.passed : link.server.passed;
}

void Proxy::redirect(std::string server_socket) {
  const std::lock_guard lock(mutex_);
  server_socket_ = std::move(server_socket);
}

std::size_t Proxy::cut() {
  std::size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    count = links_.size();
    close_all(links_);
  }
  wake();
  return count;
}

void Proxy::hold() {
  const std::lock_guard lock(mutex_);
  if (!links_.empty()) links_.back().held = true;
}

void Proxy::hold_all() {
  const std::lock_guard lock(mutex_);
  for (Link& link : links_) link.held = true;
}

bool Proxy::holds_replies() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(links_.begin(), links_.end(),
                     [](const Link& link) { return link.held && !link.server.waiting.empty(); });
}

void Proxy::let_go() {
  {
    const std::lock_guard lock(mutex_);
    for (Link& link : links_) link.held = false;
  }
  wake();
}

Proxy::Traffic Proxy::traffic() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

bool Proxy::struck() const {
  const std::lock_guard lock(mutex_);
  return struck_;
}

std::size_t Proxy::connections() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

std::size_t Proxy::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

std::size_t Proxy::passed(Direction direction) const {
  const std::lock_guard lock(mutex_);
  if (links_.empty()) return 0;
  const Link& link = links_.back();
  return direction == Direction::request ? link.client.passed : link.server.passed;
}

void Proxy::close_all(std::list<Link>& links) {
  for (const Link& link : links) {
    ::close(link.client.fd);
    ::close(link.server.fd);
  }
  links.clear();
}

void Proxy::wake() const { ::eventfd_write(wake_up_, 1); }

void Proxy::run() {
  for (;;) {
    std::vector<pollfd> watched{{listener_, POLLIN, 0}, {wake_up_, POLLIN, 0}};
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      for (const Link& link : links_) {
        watched.push_back({link.client.ended ? -1 : link.client.fd, POLLIN, 0});
        watched.push_back({link.stalled || link.server.ended ? -1 : link.server.fd, POLLIN, 0});
      }
    }
    ::poll(watched.data(), watched.size(), -1);
    eventfd_t ignored = 0;
    ::eventfd_read(wake_up_, &ignored);

    const std::lock_guard lock(mutex_);
    for (Link& link : links_) {
      const auto events = [&](int fd) {
        const auto at = std::find_if(watched.begin(), watched.end(),
                                     [&](const pollfd& one) { return one.fd == fd; });
        return at == watched.end() ? short{0} : at->revents;
      };
      const short client_events = events(link.client.fd);
      if (!link.stalled) {
        serve(link, client_events, events(link.server.fd));
      } else if (client_events != 0) {
        read(link, link.client, Direction::request);
      }
    }
    std::erase_if(links_, [](const Link& link) {
      if (!link.broken) return false;
      ::close(link.client.fd);
      ::close(link.server.fd);
      return true;
    });
    if (watched.front().revents != 0) accept_one();
  }
}

void Proxy::accept_one() {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = connect_to(server_socket_);
  if (server < 0) {
    ::close(client);
    ++refused_;
    return;
  }
  const int on = 1;
  for (const int fd : {client, server}) {  // of which a Unix socket has no use for it
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  links_.push_back({.client = {.fd = client}, .server = {.fd = server}});
  links_.back().fault = std::exchange(armed_, std::nullopt);
  ++accepted_;
  if (links_.back().fault && links_.back().fault->after == 0) strike(links_.back());
}

void Proxy::serve(Link& link, short client_events, short server_events) {
  const bool good = pass(link, link.client, link.server, Direction::request, client_events != 0) &&
                    pass(link, link.server, link.client, Direction::reply, server_events != 0);
  if (!good && !link.stalled) link.broken = true;
}

void Proxy::read(Link& link, Side& from, Direction direction) {
  std::array<char, 4096> room{};
  const ssize_t count = ::recv(from.fd, room.data(), room.size(), MSG_DONTWAIT);
  from.ended = count == 0 || (count < 0 && errno != EAGAIN);
  if (count <= 0) return;
  from.waiting.append(room.data(), static_cast<std::size_t>(count));
  if (link.recorded && direction == Direction::request) {
    traffic_.said.append(room.data(), static_cast<std::size_t>(count));
  }
}

/// False when this link carries nothing more for now or for ever.
bool Proxy::pass(Link& link, Side& from, Side& to, Direction direction, bool readable) {
  if (link.broken) return false;
  if (readable && !from.ended) read(link, from, direction);
  const bool limited = link.fault && link.fault->direction == direction;
  const bool held = link.held && direction == Direction::reply;
  const std::size_t ready = held ? 0 : from.waiting.size();
  const std::size_t share = limited ? std::min(ready, link.fault->after - from.passed) : ready;
  if (!send_all(to.fd, std::string_view(from.waiting).substr(0, share))) return false;
  if (link.recorded && direction == Direction::reply) {
    traffic_.heard.append(from.waiting, 0, share);
  }
  from.waiting.erase(0, share);
  from.passed += share;
  if (limited && from.passed == link.fault->after) {
    strike(link);
    return false;
  }
  return !from.ended;
}

void Proxy::strike(Link& link) {
  link.recorded = false;
  struck_ = true;
  if (link.fault->manner == Manner::stall) {
    link.stalled = true;
  } else {
    if (link.fault->manner == Manner::reset) reset_on_close(link.client.fd);
    link.broken = true;
  }
  link.fault.reset();
}

}  // namespace redlatch::test
