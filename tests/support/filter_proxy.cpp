#include "filter_proxy.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace redlatch::test {
namespace {

/// Where the reply that begins at `at` ends; nothing when not all of it is there.
std::optional<std::size_t> end_of_reply(std::string_view bytes, std::size_t at) {
  const std::size_t line = bytes.find("\r\n", at);
  if (line == std::string_view::npos) return std::nullopt;
  std::size_t end = line + 2;
  long number = 0;
  std::from_chars(bytes.data() + at + 1, bytes.data() + line, number);
  if (bytes[at] == '$' && number >= 0) end += static_cast<std::size_t>(number) + 2;
  for (long i = 0; bytes[at] == '*' && i < number; ++i) {
    const std::optional<std::size_t> next = end_of_reply(bytes, end);
    if (!next) return std::nullopt;
    end = *next;
  }
  return end <= bytes.size() ? std::optional(end) : std::nullopt;
}

}  // namespace

FilterProxy::Upstream::Upstream(const std::string& server_socket)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  server_socket.copy(address.sun_path, sizeof address.sun_path - 1);
  ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

FilterProxy::Upstream::~Upstream() { ::close(fd_); }

std::string FilterProxy::Upstream::ask(const ScriptedRequest& request) const {
  std::vector<std::string> words;
  for (const std::string& word : request.words) words.push_back(resp::bulk(word));
  const std::string command = resp::array(words);
  ::send(fd_, command.data(), command.size(), MSG_NOSIGNAL);
  std::string reply;
  while (reply.empty() || !end_of_reply(reply, 0)) {
    std::array<char, 4096> room{};
    const ssize_t count = ::recv(fd_, room.data(), room.size(), 0);
    if (count <= 0) return resp::error("ERR the server behind the proxy is gone");
    reply.append(room.data(), static_cast<std::size_t>(count));
  }
  return reply;
}

FilterProxy::FilterProxy(std::string server_socket, Filter filter)
    : server_socket_(std::move(server_socket)),
      filter_(std::move(filter)),
      front_([this](const ScriptedRequest& request) { return answer(request); }) {}

void FilterProxy::set(Filter filter) {
  const auto held = front_.hold();
  filter_ = std::move(filter);
}

std::string FilterProxy::answer(const ScriptedRequest& request) {
  if (std::optional<std::string> own = filter_(request)) {
    if (own->empty()) front_.close_after_answer();
    return *std::move(own);
  }
  return upstreams_.try_emplace(request.connection, server_socket_).first->second.ask(request);
}

}  // namespace redlatch::test
