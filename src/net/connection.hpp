#pragma once

#include <memory>
#include <optional>
#include <span>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/settings.hpp"
#include "net/connector.hpp"
#include "net/resolver.hpp"
#include "net/resp_stream.hpp"
#include "net/wire.hpp"

namespace redlatch::detail {

/// A connection that has logged in, and the forms of a script that its server takes. There are two
/// ways to use it. In batches: `append`, `flush` and `next`, for the commands of several calls
/// behind each other. Exclusively: `run` and `retry_refused`, for one call alone, with no other
/// reply pending. Members that are not noexcept throw `IoError`; after a time-out in a batch the
/// replies can still be read, after any other error the connection is of no use.
///
/// One thread at a time may use it; it has no mutex.
class Connection {
 public:
  using Position = RespStream::Position;

  /// Connects and logs in; see `log_in`. Until `settle_down`, all waits end when `cancel` gets
  /// readable; -1: never.
  Connection(const Settings& settings, TimePoint deadline, int cancel);

  /// The server answers, but is of no use, such as a replica: the next connections try the other
  /// addresses of its name first.
  void avoid_address() const noexcept { resolver_->avoid(address_); }

  /// From now on no wait can be cancelled.
  void settle_down() noexcept { wire_.transport().settle_down(); }

  /// The form in which a command is sent here; `watch` can only be sent exclusively.
  protocol::Form form_of(const protocol::Command& command) const noexcept {
    return command.script() == nullptr ? protocol::Form::script
                                       : protocol::form_for(*command.script(), abilities_);
  }
  bool needs_exclusive_use(std::span<const protocol::Command> commands) const noexcept;

  /// Puts the command behind the others, in a form that is not `watch`.
  void append(const protocol::Command& command, protocol::Form form);
  void flush(TimePoint deadline) { wire_.flush(deadline); }
  bool try_flush() { return wire_.try_flush(); }
  void wait(TimePoint deadline) { wire_.wait(deadline); }
  bool receive_available() { return wire_.receive_available(); }
  std::optional<protocol::Reply> next(protocol::Expect expect) {
    return wire_.stream().next(expect);
  }
  /// A message that the server has sent unasked, on a connection with a subscription.
  std::optional<protocol::Reply> next_unasked() { return wire_.stream().next_unasked(); }
  Position appended() const noexcept { return wire_.stream().appended(); }
  Position sent() const noexcept { return wire_.stream().sent(); }

  /// Exclusively: sends the commands and leaves a reply for each in `replies`.
  void run(std::span<const protocol::Command> commands, Replies& replies, TimePoint deadline);
  /// Exclusively: retries a script that the server did not know, or did not let its user run, in
  /// other forms, until the server takes one or none is left. For a quorum's server the only other
  /// form is the script's text. Where an error may or may not be a refusal, asks the server with a
  /// script that does nothing.
  protocol::Reply retry_refused(const protocol::Command& call, protocol::Form form,
                                protocol::Reply refusal, TimePoint deadline);
  /// Whether an exclusive use that ended with an exception may have changed data.
  bool in_doubt() const noexcept { return wire_.stream().in_doubt(); }

  bool in_sync() const noexcept { return wire_.stream().in_sync(); }
  bool is_idle() const noexcept { return wire_.transport().is_idle(); }
  int fd() const noexcept { return wire_.transport().fd(); }
  /// Closes the socket without sending anything. For a forked child.
  void abandon() noexcept { wire_.transport().close(); }
  /// Closes the connection; bytes that the system has not sent yet are never sent.
  void discard() noexcept { wire_.transport().discard(); }

 private:
  Connection(LoggedIn made, const Settings& settings, int cancel);

  protocol::Reply send_and_receive(const protocol::Command& command, TimePoint deadline,
                                   ScriptCall call = ScriptCall::by_hash);
  protocol::Reply answer(const protocol::Command& command, TimePoint deadline);
  bool give_up(protocol::Form form, TimePoint deadline);
  template <class Talk>
  protocol::Reply note_closed_at(Closings::Step step, Talk talk);
  bool are_scripts_refused(const protocol::Command& call, const protocol::Reply& refusal,
                           TimePoint deadline);
  protocol::Reply run_guarded(const protocol::Command& call, TimePoint deadline);
  protocol::Reply retry_guarded(const protocol::Command& call, TimePoint deadline);
  std::optional<protocol::Reply> try_guarded(const protocol::Command& call, TimePoint deadline);

  Wire wire_;
  std::shared_ptr<Resolver> resolver_;
  std::shared_ptr<Closings> closings_;
  SocketAddress address_;
  const bool only_scripts_;
  const protocol::Abilities first_abilities_;
  protocol::Abilities abilities_;
  bool asked_for_abilities_ = false;
};

}  // namespace redlatch::detail
