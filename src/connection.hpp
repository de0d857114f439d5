#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>

#include "connection_reader.hpp"
#include "socket.hpp"

namespace redlatch::detail {

/// How a script is called: by its hash, which the server may not know, or with its text.
enum class ScriptCall { by_hash, by_text };

/// Commands out, replies in, over one socket, in order. Everything throws `IoError`: after a
/// time-out more can be said and read behind what is still owed, after anything else nothing.
class Connection {
 public:
  Connection(const Endpoint& endpoint, TimePoint deadline, std::chrono::milliseconds usual_wait)
      : socket_(endpoint, deadline, usual_wait) {}

  /// Puts a command behind those that `flush` will send.
  void append(const protocol::Command& command, ScriptCall call = ScriptCall::by_hash);
  /// Sends all of them, or what the system takes at once when the deadline is over.
  void flush(TimePoint deadline);

  /// The next reply, which must be of the kind that the command expects.
  protocol::Reply receive(protocol::Expect expect, TimePoint deadline);
  /// A reply, if it is there without waiting.
  std::optional<protocol::Reply> try_receive();

  /// Commands sent whose replies have not been received.
  std::size_t owed() const noexcept { return owed_; }
  /// Whether all is answered, nobody spoke unasked and the peer is there, as far as is known.
  bool idle() const noexcept { return owed_ == 0 && reader_.empty() && socket_.quiet(); }
  /// True when the server may have been given a whole command, of those unanswered, that changes
  /// data.
  bool in_doubt() const noexcept { return owed_ > 0 && sent_ >= first_change_; }

  int fd() const noexcept { return socket_.fd(); }
  /// Lets go of the socket without a word to the server. For a forked child.
  void abandon() noexcept { socket_.close(); }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  std::optional<protocol::Reply> next_reply();
  void append_bulk(std::string_view text);
  void append_header(char kind, std::size_t number);

  Socket socket_;
  ReplyReader reader_{};
  std::string out_{};
  std::size_t sent_ = 0;             // bytes of `out_`
  std::size_t first_change_ = none;  // where the first command that changes data ends in `out_`
  std::size_t owed_ = 0;
};

}  // namespace redlatch::detail
