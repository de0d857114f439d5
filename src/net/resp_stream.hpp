#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>

#include "net/reply_reader.hpp"
#include "net/socket.hpp"

namespace redlatch::detail {

/// How a script is called: by its hash, which the server may not know, or with its text.
enum class ScriptCall { by_hash, by_text };

/// Commands out, replies in, over one socket, in order. Members that are not noexcept throw
/// `IoError`: after a time-out more can be sent and read behind what is pending, after any other
/// error nothing.
class RespStream {
 public:
  /// A place in all that was ever appended, counted in bytes.
  using Position = std::uint64_t;
  static constexpr Position nowhere = static_cast<Position>(-1);

  /// Over a socket that is connected.
  explicit RespStream(Socket socket) : socket_(std::move(socket)) {}
  /// To be called before anything waits; see `Socket`.
  void begin_waiting(const SocketWaiting& waiting) { socket_.begin_waiting(waiting); }

  /// Puts a command behind those that `flush` will send.
  void append(const protocol::Command& command, ScriptCall call = ScriptCall::by_hash);
  /// Sends all of them, or what the system takes at once when the deadline is over. When replies
  /// come first, takes them in and leaves the rest to `wait`: the peer may not read before they are
  /// read.
  void flush(TimePoint deadline);
  /// Sends what the system takes without waiting. True when nothing is left.
  bool try_flush();

  Position appended() const noexcept { return base_ + out_.size(); }
  Position sent() const noexcept { return base_ + sent_; }

  /// Sends what is left to send and waits for bytes. Then `next` has more to give, perhaps.
  void wait(TimePoint deadline);
  /// Takes in what is there without waiting. False when that was all.
  bool receive_available();
  /// The next reply, if all of it has come. It must be of the kind that the command expects.
  std::optional<protocol::Reply> next(protocol::Expect expect);
  /// The next message, on a connection with a subscription, if all of it has come.
  std::optional<protocol::Reply> next_unasked();
  /// Waits for the next reply.
  protocol::Reply receive(protocol::Expect expect, TimePoint deadline);

  /// Commands whose replies have not been received.
  std::size_t owed() const noexcept { return owed_; }
  /// The names of the last of them, each once, as in "SET, EVALSHA".
  std::string owed_names() const;
  /// Whether every command is answered, and there are no bytes behind the last reply.
  bool in_sync() const noexcept { return owed_ == 0 && reader_.empty(); }
  /// Asks the system: false when the peer has sent bytes, or has closed the connection.
  bool is_idle() const noexcept { return socket_.is_idle(); }
  /// Whether the server may have received all of a command that changes data, of those that were
  /// appended since the last time that nothing was owed.
  bool in_doubt() const noexcept { return owed_ > 0 && sent() >= first_change_; }

  /// From now on no wait can be cancelled.
  void settle_down() noexcept { socket_.settle_down(); }
  int fd() const noexcept { return socket_.fd(); }
  /// Closes the socket without sending anything. For a forked child.
  void abandon() noexcept { socket_.close(); }
  /// Closes the connection; bytes that the system has not sent yet are never sent.
  void discard() noexcept { socket_.discard(); }

 private:
  template <class Transfer>
  auto naming_owed(Transfer transfer) const;
  void append_bulk(std::string_view text);
  void append_header(char kind, std::size_t number);
  void append_side_key(std::string_view key, std::string_view purpose);
  void append_keys(std::string_view lock, const protocol::Script& script);
  void append_call(const protocol::Command& command, ScriptCall call);

  Socket socket_;
  ReplyReader reader_{};
  std::string out_{};
  std::size_t sent_ = 0;             // bytes of `out_`
  Position base_ = 0;                // where `out_` begins
  Position first_change_ = nowhere;  // where the first command that changes data ends
  std::size_t owed_ = 0;             // replies
  bool has_received_ = false;        // in `flush`, so that `wait` need not
};

}  // namespace redlatch::detail
