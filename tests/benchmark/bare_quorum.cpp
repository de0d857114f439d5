#include "bare_quorum.hpp"

#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace redlatch::benchmark {
namespace {

std::string written(const std::vector<std::string>& words) {
  std::ostringstream command;
  command << '*' << words.size() << "\r\n";
  for (const std::string& word : words) {
    command << '$' << word.size() << "\r\n" << word << "\r\n";
  }
  return command.str();
}

constexpr const char* key = "bench:bare";

}  // namespace

void BareQuorum::Free::operator()(redisContext* context) const noexcept { redisFree(context); }

BareQuorum::BareQuorum(const std::vector<std::uint16_t>& ports)
    : acquire_(written({"SET", key, std::string(36, 'x'), "NX", "PX", "10000"})),
      release_(written({"DEL", key})) {
  for (const std::uint16_t port : ports) {
    Peer& peer = peers_.emplace_back();
    peer.context.reset(redisConnect("127.0.0.1", port));
    if (peer.context == nullptr || peer.context->err != 0) {
      throw std::runtime_error("bare sockets: no connection");
    }
    watched_.push_back({.fd = peer.context->fd, .events = POLLIN, .revents = 0});
  }
}

/// Until a majority has answered this, and all that was asked before.
void BareQuorum::ask(const std::string& command) {
  for (Peer& peer : peers_) {
    const auto sent =
        ::send(peer.context->fd, command.data(), command.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != static_cast<ssize_t>(command.size())) throw std::runtime_error("bare sockets");
    ++peer.owed;
  }
  const auto is_done = [](const Peer& peer) { return peer.owed == 0; };
  while (static_cast<std::size_t>(std::count_if(peers_.begin(), peers_.end(), is_done)) <=
         peers_.size() / 2) {
    ::poll(watched_.data(), watched_.size(), -1);
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      if (watched_[i].revents != 0) take_in(i);
    }
  }
}

void BareQuorum::take_in(std::size_t index) {
  std::array<char, 512> room;
  const auto count = ::recv(watched_[index].fd, room.data(), room.size(), MSG_DONTWAIT);
  if (count <= 0) throw std::runtime_error("bare sockets: the connection is lost");
  const std::string_view text(room.data(), static_cast<std::size_t>(count));
  peers_[index].owed -= static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace redlatch::benchmark
