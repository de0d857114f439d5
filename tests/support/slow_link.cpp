#include "slow_link.hpp"

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
SlowLink::SlowLink(std::string server_socket, std::chrono::milliseconds delay)
    : server_socket_(std::move(server_socket)),
      delay_(delay),
      listener_(listen_on_loopback(port_)),
      wake_up_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([this] { run(); });
}

SlowLink::~SlowLink() {
  ::eventfd_write(wake_up_, 1);
  thread_.join();
  ::close(listener_);
  ::close(wake_up_);
}

void SlowLink::run() {
  std::list<Way> ways;  // two for each connection, next to each other
  for (;;) {
    std::vector<pollfd> watched{{.fd = wake_up_, .events = POLLIN, .revents = 0},
                                {.fd = listener_, .events = POLLIN, .revents = 0}};
    Clock::time_point next = Clock::now() + std::chrono::hours(1);
    for (const Way& way : ways) {
      watched.push_back({.fd = way.ended ? -1 : way.from, .events = POLLIN, .revents = 0});
      if (!way.under_way.empty()) next = std::min(next, way.under_way.front().due);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
    ::poll(watched.data(), watched.size(), static_cast<int>(std::max<long>(left.count(), 0)));
    if (watched[0].revents != 0) break;
    auto source = watched.begin() + 2;
    for (Way& way : ways) {
      if ((source++)->revents != 0) take_in(way);
      deliver(way, Clock::now());
    }
    remove_ended(ways);
    if (watched[1].revents != 0) accept_one(ways);
  }
  for (Way& way : ways) way.ended = true;
  remove_ended(ways);
}

void SlowLink::accept_one(std::list<Way>& ways) const {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = connect_to(server_socket_);
  if (server < 0) {
    ::close(client);
    return;
  }
  ways.push_back({.from = client, .to = server});
  ways.push_back({.from = server, .to = client});
}

void SlowLink::take_in(Way& way) const {
  std::array<char, 65536> room;
  const ssize_t count = ::recv(way.from, room.data(), room.size(), MSG_DONTWAIT);
  if (count > 0) {
    way.under_way.push_back(
        {Clock::now() + delay_, std::string(room.data(), static_cast<std::size_t>(count))});
  } else if (count == 0 || errno != EAGAIN) {
    way.ended = true;
  }
}

void SlowLink::deliver(Way& way, Clock::time_point now) {
  while (!way.under_way.empty() && way.under_way.front().due <= now) {
    if (!send_all(way.to, way.under_way.front().bytes)) way.ended = true;
    way.under_way.pop_front();
  }
}

/// Both ways of a connection, when one of them has ended.
void SlowLink::remove_ended(std::list<Way>& ways) {
  for (auto next = ways.begin(); next != ways.end();) {
    const auto one = next++;
    const auto other = next++;
    if (!one->ended && !other->ended) continue;
    ::close(one->from);
    ::close(other->from);
    ways.erase(one, next);
  }
}

}  // namespace redlatch::test
