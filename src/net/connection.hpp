#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/settings.hpp"
#include "net/resp_stream.hpp"
#include "net/socket_address.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// A connection that has logged in: the stream of its commands and replies, and the transport that
/// moves their bytes.
struct Connection {
  std::unique_ptr<RespStream> stream{};
  std::unique_ptr<Transport> transport{};
  std::optional<protocol::Abilities> abilities{};  // none: the greeting did not ask for them
  SocketAddress address{};
  std::uint64_t version = 0;  // of the topology that led there
};

/// Connects to the server and sends the greeting, until `deadline` or until `cancel` gets readable;
/// -1: never. Later waits can be cancelled, too, until the transport settles down.
/// Of several addresses, the first at which the whole greeting is answered wins (RFC 8305): the
/// next attempt begins beside the others after at most 250 ms, or when one has failed.
/// Throws the `IoError` of the last attempt.
Connection connect(const Settings& settings, TimePoint deadline, int cancel);

class Race;

/// An attempt to connect that may outlive the call which has begun it: if `cancel` ends that call,
/// the next one goes on with what is under way. So callers that are stopped one after the other
/// neither begin a new attempt each, nor keep a server from being reached that takes longer to log
/// in to than they wait.
class Connecting {
 public:
  Connecting() noexcept;
  Connecting(Connecting&& other) noexcept;
  Connecting& operator=(Connecting&& other) noexcept;
  Connecting(const Connecting&) = delete;
  Connecting& operator=(const Connecting&) = delete;
  ~Connecting();

  /// When the attempt began that was cancelled; `otherwise` if there is none, or it is too old to
  /// go on with.
  TimePoint begun(TimePoint otherwise) const noexcept;
  /// As the function `connect`. What is under way goes on for `connect_timeout` in all.
  Connection connect(const Settings& settings, TimePoint deadline, int cancel);

 private:
  std::unique_ptr<Race> race_;
};

/// Sends what the transport takes without waiting. True when nothing is left.
bool send_available(RespStream& stream, Transport& transport);
/// Whether the end of the connection behind the last bytes is found at once, by one more attempt to
/// receive, or by the next poll.
enum class Receive { bytes, bytes_and_end };
/// Takes in what has come, without waiting.
void receive_into(RespStream& stream, Transport& transport, Receive what = Receive::bytes);
/// Sends one command and waits for the reply, while nothing else is pending. These three
/// throw `IoError`: after a time-out more can be sent and read behind what is pending, after any
/// other error nothing.
protocol::Reply ask(RespStream& stream, Transport& transport, const protocol::Command& command,
                    TimePoint deadline);

}  // namespace redlatch::detail
