#include "scripted_server.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "loopback.hpp"

namespace redlatch::test {
namespace {

/// The number behind the mark at `at`, and where its line ends; nothing when it is not all there.
std::optional<std::pair<std::size_t, std::size_t>> header(std::string_view text, std::size_t at) {
  const std::size_t end = text.find("\r\n", at);
  if (end == std::string_view::npos) return std::nullopt;
  std::size_t number = 0;
  std::from_chars(text.data() + at + 1, text.data() + end, number);
  return std::pair(number, end + 2);
}

/// Takes one whole command from the front of `text`, if there is one.
std::optional<std::vector<std::string>> take_command(std::string& text) {
  const auto count = header(text, 0);
  if (!count) return std::nullopt;
  std::vector<std::string> words;
  std::size_t at = count->second;
  while (words.size() < count->first) {
    const auto size = header(text, at);
    if (!size || text.size() < size->second + size->first + 2) return std::nullopt;
    words.push_back(text.substr(size->second, size->first));
    at = size->second + size->first + 2;
  }
  text.erase(0, at);
  return words;
}

}  // namespace

ScriptedServer::ScriptedServer(Handler handler, std::string unix_path)
    : handler_(std::move(handler)),
      unix_path_(std::move(unix_path)),
      listener_(unix_path_.empty() ? listen_on_loopback(port_) : listen_on(unix_path_)),
      wake_up_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([this] { run(); });
}

ScriptedServer::~ScriptedServer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  ::eventfd_write(wake_up_, 1);
  thread_.join();
  for (const auto& [number, link] : links_) ::close(link.fd);
  ::close(listener_);
  ::close(wake_up_);
}

void ScriptedServer::say(std::size_t connection, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (const auto at = links_.find(connection); at != links_.end()) send_all(at->second.fd, bytes);
}

void ScriptedServer::close_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, link] : links_) ::shutdown(link.fd, SHUT_RDWR);
}

std::vector<ScriptedRequest> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t ScriptedServer::count(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(requests_.begin(), requests_.end(),
                    [&](const ScriptedRequest& request) { return request.is(name); }));
}

std::size_t ScriptedServer::connections() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

void ScriptedServer::run() {
  for (;;) {
    std::vector<pollfd> watched{{listener_, POLLIN, 0}, {wake_up_, POLLIN, 0}};
    std::vector<std::size_t> numbers;
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      for (const auto& [number, link] : links_) {
        numbers.push_back(number);
        watched.push_back({link.fd, POLLIN, 0});
      }
    }
    ::poll(watched.data(), watched.size(), -1);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      // Only this thread adds and removes links.
      if (watched[i + 2].revents == 0 || serve(numbers[i], links_[numbers[i]])) continue;
      const std::lock_guard lock(mutex_);
      ::close(links_[numbers[i]].fd);
      links_.erase(numbers[i]);
    }
    if (watched.front().revents != 0) accept_one();
  }
}

void ScriptedServer::accept_one() {
  const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  const int on = 1;
  if (unix_path_.empty()) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const std::lock_guard lock(mutex_);
  links_[++accepted_] = {.fd = fd};
}

/// False when the connection is over.
bool ScriptedServer::serve(std::size_t number, Link& link) {
  std::array<char, 4096> room{};
  const ssize_t count = ::recv(link.fd, room.data(), room.size(), MSG_DONTWAIT);
  if (count <= 0) return count < 0 && errno == EAGAIN;
  link.received.append(room.data(), static_cast<std::size_t>(count));
  while (auto words = take_command(link.received)) {
    const ScriptedRequest request{.connection = number, .words = *std::move(words)};
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    std::string answer;
    {
      const std::lock_guard handling(handling_);
      answer = handler_(request);
    }
    {
      const std::lock_guard lock(mutex_);
      send_all(link.fd, answer);
    }
    if (std::exchange(closing_, false)) return false;
  }
  return true;
}

}  // namespace redlatch::test
