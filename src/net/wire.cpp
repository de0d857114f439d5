#include "net/wire.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "base/io_error.hpp"

namespace redlatch::detail {

/// Adds the names of the unanswered commands to the error of a closed connection.
template <class Transfer>
auto Wire::naming_owed(Transfer transfer) const {
  try {
    return transfer();
  } catch (const IoError& error) {
    if (error.code() != Errc::unreachable) throw;
    throw stream_.naming_owed(error);
  }
}

void Wire::flush(TimePoint deadline) {
  while (!try_flush() && !has_received_) {
    if (!transport_->wait_for_room(deadline)) continue;
    receive_available();
    has_received_ = true;
  }
}

bool Wire::try_flush() {
  const std::string_view output = stream_.output();
  if (output.empty()) return true;
  std::size_t sent = 0;
  try {
    naming_owed([&] { transport_->send_now(output, sent); });
  } catch (const IoError&) {
    stream_.sent(sent);
    throw;
  }
  stream_.sent(sent);
  return sent == output.size();
}

void Wire::wait(TimePoint deadline) {
  flush(deadline);
  if (std::exchange(has_received_, false)) return;
  std::array<char, 4096> room;
  const std::size_t count = naming_owed([&] { return transport_->receive(room, deadline); });
  stream_.received({room.data(), count});
}

bool Wire::receive_available() {
  std::array<char, 4096> room;
  const std::size_t count = naming_owed([&] { return transport_->receive_now(room); });
  if (count > 0) stream_.received({room.data(), count});
  return count == room.size();
}

protocol::Reply Wire::receive(protocol::Expect expect, TimePoint deadline) {
  for (;;) {
    if (std::optional<protocol::Reply> reply = stream_.next(expect)) return *std::move(reply);
    wait(deadline);
  }
}

}  // namespace redlatch::detail
