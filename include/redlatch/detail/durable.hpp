#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/quorum_reply.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/durability.hpp>

namespace redlatch::detail {

/// Extends the lease, so that there is something to ask about on the connection that asks where it
/// has got to. False when it is to be asked again, since there was less time for the answer than
/// until `end`. Throws `Error` when the lease has not got there in time.
template <class Protocol, class Destination>
bool has_reached(Executor& executor, const Protocol& protocol, Lease& lease,
                 const LockOptions& options, const Destination& destination, TimePoint end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - executor.now());
  const auto time = std::max(left, std::chrono::milliseconds(1));  // 0 would be for ever
  const std::array commands{protocol.extend(lease.value(), options.ttl), destination.ask(time)};
  const QuorumReply quorum_reply(executor,
                                 {.key = protocol.key(), .commands = commands, .blocks = time},
                                 ConnectPolicy::separate_timeout);
  const protocol::Vote vote = quorum_reply.vote(protocol::ours);
  if (vote == protocol::Vote::refused) throw quorum_reply.error(protocol.key());
  const auto too_few = [&](const std::string& why) {
    return protocol::about(Errc::no_quorum, protocol.key(), executor.server(0), why);
  };
  if (vote == protocol::Vote::no) {
    throw too_few("the lock was deleted or taken over before it was durable");
  }
  quorum_reply.learn_given(lease, options.ttl, protocol::ours);
  const protocol::Reply* const reply = quorum_reply.reply(1);
  if (reply == nullptr) throw too_few("the server did not say how durable the lock is");
  if (reply->is_error()) {
    throw protocol::to_error(*reply, protocol.key(), executor.server(0), false);
  }
  if (destination.has_it(*reply)) return true;
  if (quorum_reply.are_cut_short() && executor.now() < end) return false;
  throw too_few(destination.lack(*reply) + " after " +
                std::to_string(options.durability.timeout.count()) + " ms");
}

template <class Protocol, class Destination>
void await_durable(Executor& executor, const Protocol& protocol, Lease& lease,
                   const LockOptions& options, const Destination& destination, TimePoint end) {
  while (!has_reached(executor, protocol, lease, options, destination, end)) {
  }
}

/// Whether the server says that the lease is gone.
inline bool is_undone(Executor& executor, std::string_view key, const CleanupRelease& cleanup) {
  const QuorumReply quorum_reply(executor, {.key = key, .commands = {&cleanup.command, 1}},
                                 ConnectPolicy::within_timeout);
  return quorum_reply.vote(protocol::ours) != protocol::Vote::refused;
}

/// Throws `Error` when the lease has not got to where it shall be in time, and takes it back: at
/// once when the server answers.
template <class Protocol>
void await_durability(Executor& executor, const Protocol& protocol, Lease& lease,
                      const LockOptions& options, const CleanupRelease& cleanup) {
  const Durability& wanted = options.durability;
  if (wanted.replicas == 0 && !wanted.aof) return;
  const TimePoint end = executor.now() + wanted.timeout;
  bool open = true;
  const Finally pause_renewal([&] {
    if (open) executor.post(protocol.key(), cleanup);
  });
  try {
    if (wanted.replicas > 0) {
      await_durable(executor, protocol, lease, options, protocol::Replicas(wanted.replicas), end);
    }
    if (wanted.aof) await_durable(executor, protocol, lease, options, protocol::Disk(), end);
    open = false;
  } catch (const Error& error) {
    const bool quorum_reply = error.code() == Errc::no_quorum || error.code() == Errc::unsupported;
    open = !quorum_reply || !is_undone(executor, protocol.key(), cleanup);
    throw;
  }
}

}  // namespace redlatch::detail
