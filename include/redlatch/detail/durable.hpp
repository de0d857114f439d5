#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>

#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/quorum_reply.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/durability.hpp>

namespace redlatch::detail {

/// Asks whether the lease has reached `destination`, behind an extension on the same connection:
/// the server answers for what was written on that connection before. False if it is to be asked
/// again, because a shared WAIT had less time than until `end`. Throws `Error` if the lease has not
/// reached it in time.
template <class Protocol, class Destination>
bool has_reached(RequestTransport& transport, const Protocol& protocol, Lease& lease,
                 const LockOptions& options, const Destination& destination, TimePoint end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - transport.now());
  const auto time = std::max(left, std::chrono::milliseconds(1));  // 0 would block without end
  const std::array commands{protocol.extend(lease.value(), options.ttl), destination.ask(time)};
  const QuorumReply quorum_reply(transport,
                                 {.key = protocol.key(), .commands = commands, .blocks = time},
                                 ConnectPolicy::separate_timeout);
  const protocol::Vote vote = quorum_reply.vote(protocol::ours);
  if (vote == protocol::Vote::refused) throw quorum_reply.error(protocol.key());
  const auto too_few = [&](const std::string& why) {
    return protocol::about(Errc::no_quorum, protocol.key(), transport.server(0), why);
  };
  if (vote == protocol::Vote::no) {
    throw too_few("the lock was deleted or taken over before it was durable");
  }
  quorum_reply.learn_given(lease, options.ttl, protocol::ours);
  const protocol::Reply* const reply = quorum_reply.reply(1);
  if (reply == nullptr) throw too_few("the server did not say how durable the lock is");
  if (reply->is_error()) {
    throw protocol::to_error(*reply, protocol.key(), transport.server(0), false);
  }
  if (destination.has_it(*reply)) return true;
  if (quorum_reply.are_cut_short() && transport.now() < end) return false;
  throw too_few(destination.lack(*reply) + " after " +
                std::to_string(options.durability.timeout.count()) + " ms; " +
                std::string(destination.remedy));
}

/// Waits until the lease has reached `destination`. Throws `Error` if it has not by `end`.
template <class Protocol, class Destination>
void await_durable(RequestTransport& transport, const Protocol& protocol, Lease& lease,
                   const LockOptions& options, const Destination& destination, TimePoint end) {
  while (!has_reached(transport, protocol, lease, options, destination, end)) {
  }
}

/// Releases the lease. Whether the server has answered, so that the lease is gone for certain.
inline bool is_undone(RequestTransport& transport, std::string_view key,
                      const CleanupRelease& cleanup) {
  const QuorumReply quorum_reply(transport, {.key = key, .commands = {&cleanup.command, 1}},
                                 ConnectPolicy::within_timeout);
  return quorum_reply.vote(protocol::ours) != protocol::Vote::refused;
}

/// Waits until the lease is stored where the options want it. Throws `Error` if it is not in time,
/// and releases it: at once if the server answers, else in the background.
template <class Protocol>
void await_durability(RequestTransport& transport, const Protocol& protocol, Lease& lease,
                      const LockOptions& options, const CleanupRelease& cleanup) {
  const Durability& wanted = options.durability;
  if (wanted.replicas == 0 && !wanted.aof) return;
  const TimePoint end = transport.now() + wanted.timeout;
  bool open = true;
  const Finally undo([&] {
    if (open) transport.post(protocol.key(), cleanup);
  });
  try {
    if (wanted.replicas > 0) {
      await_durable(transport, protocol, lease, options, protocol::Replicas(wanted.replicas), end);
    }
    if (wanted.aof) await_durable(transport, protocol, lease, options, protocol::Disk(), end);
    open = false;
  } catch (const Error& error) {
    const bool answers = error.code() == Errc::no_quorum || error.code() == Errc::unsupported;
    open = !answers || !is_undone(transport, protocol.key(), cleanup);
    throw;
  }
}

}  // namespace redlatch::detail
