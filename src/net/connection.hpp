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

namespace redlatch::detail {

/// A connection that has logged in, and what is known of the server at its other end: which of the
/// forms of a script it takes. There are two ways to use it. Batches: `append`, `flush` and `next`,
/// for anybody's commands behind each other. Conversations: `run` and `retry_refused`, with the
/// connection for one caller alone and nothing unanswered before. Everything throws `IoError`;
/// after a time-out in a batch the replies can still be read, after anything else nothing.
class Connection {
 public:
  using Position = RespStream::Position;

  /// Connects and logs in; see `log_in`. Gives up when `cancel` gets readable, until it is told to
  /// settle down; -1: never.
  Connection(const Settings& settings, TimePoint deadline, int cancel);

  /// The server is of no use, although it answers: sessions to come try the other addresses of its
  /// name first.
  void avoid_address() const noexcept { resolver_->avoid(address_); }

  /// Nobody cancels any more.
  void settle_down() noexcept { stream_.settle_down(); }

  /// How a command is said here; `watch` can only be said in a conversation.
  protocol::Form form_of(const protocol::Command& command) const noexcept {
    return command.script() == nullptr ? protocol::Form::script
                                       : protocol::form_for(*command.script(), abilities_);
  }
  bool needs_exclusive_use(std::span<const protocol::Command> commands) const noexcept;

  /// Puts the command behind the others, in a form that is not `watch`.
  void append(const protocol::Command& command, protocol::Form form);
  void flush(TimePoint deadline) { stream_.flush(deadline); }
  bool try_flush() { return stream_.try_flush(); }
  void wait(TimePoint deadline) { stream_.wait(deadline); }
  bool receive_available() { return stream_.receive_available(); }
  std::optional<protocol::Reply> next(protocol::Expect expect) { return stream_.next(expect); }
  /// What the server says unasked, once it is subscribed to something.
  std::optional<protocol::Reply> next_unasked() { return stream_.next_unasked(); }
  Position appended() const noexcept { return stream_.appended(); }
  Position sent() const noexcept { return stream_.sent(); }

  /// Says the commands and leaves a reply for each in `replies`.
  void run(std::span<const protocol::Command> commands, Replies& replies, TimePoint deadline);
  /// Says a script that the server did not know, or did not let its user run, in other ways, until
  /// the server takes one or none is left. Where only scripts are said, that is with their text.
  /// Whether an odd error is a refusal is asked.
  protocol::Reply retry_refused(const protocol::Command& call, protocol::Form form,
                                protocol::Reply refusal, TimePoint deadline);
  /// Whether a conversation that ended with an exception may have changed data.
  bool in_doubt() const noexcept { return stream_.in_doubt(); }

  bool in_sync() const noexcept { return stream_.in_sync(); }
  bool is_idle() const noexcept { return stream_.is_idle(); }
  int fd() const noexcept { return stream_.fd(); }
  /// Lets go of the socket without a word to the server. For a forked child.
  void abandon() noexcept { stream_.abandon(); }
  /// Closes the connection, and what the system has not sent yet is never sent.
  void discard() noexcept { stream_.discard(); }

 private:
  Connection(LoggedIn made, const Settings& settings, int cancel);

  protocol::Reply send_and_receive(const protocol::Command& command, TimePoint deadline,
                                   ScriptCall call = ScriptCall::by_hash);
  protocol::Reply answer(const protocol::Command& command, TimePoint deadline);
  bool give_up(protocol::Form form, TimePoint deadline);
  template <class Talk>
  protocol::Reply noting_end(Closings::Step step, Talk run_exclusively_with);
  bool are_scripts_refused(const protocol::Command& call, const protocol::Reply& refusal,
                           TimePoint deadline);
  protocol::Reply guarded(const protocol::Command& call, TimePoint deadline);
  protocol::Reply guarded_until_done(const protocol::Command& call, TimePoint deadline);
  std::optional<protocol::Reply> try_guarded(const protocol::Command& call, TimePoint deadline);

  RespStream stream_;
  std::shared_ptr<Resolver> resolver_;
  std::shared_ptr<Closings> closings_;
  SocketAddress address_;
  const bool only_scripts_;
  const protocol::Abilities first_abilities_;
  protocol::Abilities abilities_;
  bool asked_for_abilities_ = false;
};

}  // namespace redlatch::detail
