#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>

#include <redlatch/detail/answers.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/tenure.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/durability.hpp>

namespace redlatch::detail {

/// Extends the lease, so that there is something to ask about on the connection that asks where it
/// has got to. False when it is to be asked again, since there was less time for the answer than
/// until `end`. Throws `Error` when the lease has not got there in time.
template <class Protocol, class Place>
bool has_got_to(Executor& executor, const Protocol& protocol, Tenure& tenure,
                const LockOptions& options, const Place& place, TimePoint end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - executor.now());
  const auto time = std::max(left, std::chrono::milliseconds(1));  // 0 would be for ever
  const std::array commands{protocol.extend(tenure.value(), options.ttl), place.ask(time)};
  const Answers answers(executor, {.key = protocol.key(), .commands = commands, .blocks = time},
                        Connecting::on_top);
  const protocol::Verdict verdict = answers.verdict(protocol::ours);
  if (verdict == protocol::Verdict::refused) throw answers.error(protocol.key());
  const auto too_few = [&](const std::string& why) {
    return protocol::about(Errc::no_quorum, protocol.key(), executor.server(0), why);
  };
  if (verdict == protocol::Verdict::no) {
    throw too_few("the lock was deleted or taken over before it was durable");
  }
  answers.learn_given(tenure, options.ttl, protocol::ours);
  const protocol::Reply* const reply = answers.reply(1);
  if (reply == nullptr) throw too_few("the server did not say how durable the lock is");
  if (reply->is_error()) {
    throw protocol::to_error(*reply, protocol.key(), executor.server(0), false);
  }
  if (place.has_it(*reply)) return true;
  if (answers.are_cut_short() && executor.now() < end) return false;
  throw too_few(place.lack(*reply) + " after " +
                std::to_string(options.durability.timeout.count()) + " ms");
}

template <class Protocol, class Place>
void await_place(Executor& executor, const Protocol& protocol, Tenure& tenure,
                 const LockOptions& options, const Place& place, TimePoint end) {
  while (!has_got_to(executor, protocol, tenure, options, place, end)) {
  }
}

/// Whether the server says that the lease is gone.
inline bool is_undone(Executor& executor, std::string_view key, const Undo& undo) {
  const Answers answers(executor, {.key = key, .commands = {&undo.command, 1}},
                        Connecting::counted);
  return answers.verdict(protocol::ours) != protocol::Verdict::refused;
}

/// Throws `Error` when the lease has not got to where it shall be in time, and takes it back: at
/// once when the server answers.
template <class Protocol>
void await_durability(Executor& executor, const Protocol& protocol, Tenure& tenure,
                      const LockOptions& options, const Undo& undo) {
  const Durability& wanted = options.durability;
  if (wanted.replicas == 0 && !wanted.aof) return;
  const TimePoint end = executor.now() + wanted.timeout;
  bool open = true;
  const Finally take_back([&] {
    if (open) executor.post(protocol.key(), undo);
  });
  try {
    if (wanted.replicas > 0) {
      await_place(executor, protocol, tenure, options, protocol::Replicas(wanted.replicas), end);
    }
    if (wanted.aof) await_place(executor, protocol, tenure, options, protocol::Disk(), end);
    open = false;
  } catch (const Error& error) {
    const bool answers = error.code() == Errc::no_quorum || error.code() == Errc::unsupported;
    open = !answers || !is_undone(executor, protocol.key(), undo);
    throw;
  }
}

}  // namespace redlatch::detail
