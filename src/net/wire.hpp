#pragma once

#include <memory>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>

#include "net/resp_stream.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// A stream of commands and replies over a transport: sends what is appended, and gives the stream
/// what is received. Members that are not noexcept throw `IoError`: after a time-out more can be
/// sent and read behind what is pending, after any other error nothing.
///
/// One thread at a time may use it; it has no mutex.
class Wire {
 public:
  explicit Wire(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}

  RespStream& stream() noexcept { return stream_; }
  const RespStream& stream() const noexcept { return stream_; }
  Transport& transport() const noexcept { return *transport_; }

  /// Sends all that is appended, or what the system takes at once when the deadline is over. When
  /// replies come first, takes them in and leaves the rest to `wait`: the peer may not read before
  /// they are read.
  void flush(TimePoint deadline);
  /// Sends what the system takes without waiting. True when nothing is left.
  bool try_flush();
  /// Sends what is left to send and waits for bytes. Then the stream has more to give, perhaps.
  void wait(TimePoint deadline);
  /// Takes in what is there without waiting. False when that was all.
  bool receive_available();
  /// Waits for the next reply.
  protocol::Reply receive(protocol::Expect expect, TimePoint deadline);

 private:
  template <class Transfer>
  auto naming_owed(Transfer transfer) const;

  std::unique_ptr<Transport> transport_;
  RespStream stream_{};
  bool has_received_ = false;  // in `flush`, so that `wait` need not
};

}  // namespace redlatch::detail
