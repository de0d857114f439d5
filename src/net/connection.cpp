#include "net/connection.hpp"

#include <array>
#include <cassert>
#include <cstddef>
#include <string_view>
#include <utility>

#include "base/io_error.hpp"

namespace redlatch::detail {

namespace {

/// Adds the names of the unanswered commands to the error of a closed connection.
template <class Transfer>
auto naming_owed(const RespStream& stream, Transfer transfer) {
  try {
    return transfer();
  } catch (const IoError& error) {
    if (error.code() != Errc::unreachable) throw;
    throw stream.naming_owed(error);
  }
}

}  // namespace

bool send_available(RespStream& stream, Transport& transport) {
  const std::string_view output = stream.output();
  if (output.empty()) return true;
  std::size_t sent = 0;
  naming_owed(stream, [&] { transport.send_now(output, sent); });
  stream.sent(sent);
  return sent == output.size();
}

// Reads until less came than there was room for: then the system has no more, and a poll shows what
// comes next. With TLS, a rest may stand in the transport, where no poll shows it.
void receive_into(RespStream& stream, Transport& transport, Receive what) {
  std::array<char, 4096> room;
  std::size_t count = 0;
  do {
    count = naming_owed(stream, [&] { return transport.receive_now(room); });
    if (count > 0) stream.received({room.data(), count});
  } while (count == room.size() || (count > 0 && what == Receive::bytes_and_end));
}

protocol::Reply ask(RespStream& stream, Transport& transport, const protocol::Command& command,
                    TimePoint deadline) {
  assert(stream.owed() == 0);
  stream.append(command);
  // A peer that waits for its own bytes to be read may not read ours before that.
  while (!send_available(stream, transport)) {
    if (transport.wait_for_room(deadline)) receive_into(stream, transport);
  }
  std::array<char, 4096> room;
  for (;;) {
    if (std::optional<protocol::Reply> reply = stream.next(command.expect())) {
      return *std::move(reply);
    }
    const std::size_t count =
        naming_owed(stream, [&] { return transport.receive(room, deadline); });
    stream.received({room.data(), count});
  }
}

}  // namespace redlatch::detail
