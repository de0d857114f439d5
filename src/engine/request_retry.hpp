#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/closings.hpp"
#include "base/io_error.hpp"
#include "engine/guarded_change.hpp"
#include "engine/pending_request.hpp"
#include "engine/script_forms.hpp"
#include "net/resp_stream.hpp"

namespace redlatch::detail {

/// A request that the server has refused, or that it would not take in a batch, alone on its
/// connection: its commands are sent one by one, each in one form after the other until the server
/// takes it or no form is left.
///
/// | form | after | is left when |
/// | --- | --- | --- |
/// | a script by its hash | | NOSCRIPT: the script's text; any refusal: the next form |
/// | the script's text | NOSCRIPT | any refusal |
/// | DELEX, DELIFEQ, SET IFEQ, where COMMAND INFO has them | scripts are refused | any refusal |
/// | `GuardedChange` | all others are refused | |
///
/// Where an error may or may not be a refusal of scripts, a script that does nothing finds out. For
/// a quorum's server the only other form is the script's text.
///
/// No socket: it appends commands to a stream, and takes the replies from it. While it is in
/// progress, its request is the only one in flight.
class RequestRetry {
 public:
  bool in_progress() const noexcept { return request_ != nullptr; }
  /// Appends the first commands. `end`: until when it may begin again because the key has changed.
  /// True when it is complete already; see `advance`.
  bool begin(PendingRequest& request, TimePoint now, TimePoint end, RespStream& stream,
             ScriptForms& forms, Closings& closings);
  /// Takes the replies that have come, and appends the commands that follow from them. True when
  /// the request is complete, which ends the retry: the replies are in the request, unless the key
  /// `kept_changing`.
  bool advance(TimePoint now);
  bool kept_changing() const noexcept { return change_.kept_changing(); }
  /// When the last reply came: the server may take as long for each of them as for a batch.
  TimePoint heard_at() const noexcept { return heard_at_; }
  /// The first script of the request, which the server knows after the retry. Perhaps null.
  const protocol::Script* script() const noexcept { return script_; }

  /// If a retry is in progress: its call does not wait any more, and the texts of its commands may
  /// be gone. Nothing more is changed, and nothing stays watched. The retry ends at once, and
  /// leaves a request in flight whose replies are still to come, unless commands have to follow on
  /// these.
  void abandon() noexcept;
  bool is_abandoned() const noexcept { return is_abandoned_; }
  /// The connection is lost. A server, or a proxy, may have closed it at the last command.
  void stop(Errc why, TimePoint now) noexcept;

 private:
  enum class State {
    asking,    // until the command is answered
    testing,   // until the script that does nothing is answered
    learning,  // until COMMAND INFO is answered
    guarded,   // until the guarded change is over
    done
  };

  protocol::Expect expected() const noexcept;
  void take(protocol::Reply reply, TimePoint now);
  void start_command(TimePoint now);
  void append(const protocol::Command& command, ScriptCall call = ScriptCall::by_hash);
  void judge(protocol::Reply reply, TimePoint now);
  void conclude(protocol::Reply reply, TimePoint now);
  void send_in_next_form(TimePoint now);
  void send_guarded(TimePoint now);
  void finish_command(protocol::Reply reply, TimePoint now);
  void note_change(const protocol::Reply& reply) noexcept;

  PendingRequest* request_ = nullptr;
  RespStream* stream_ = nullptr;
  ScriptForms* forms_ = nullptr;
  Closings* closings_ = nullptr;
  TimePoint end_{};
  TimePoint heard_at_{};
  TimePoint step_begun_{};  // when the guarded change, or COMMAND INFO, began
  const protocol::Script* script_ = nullptr;
  bool is_abandoned_ = false;
  bool has_acted_ = false;  // a command that changes data may have been carried out

  // The command at hand:
  std::size_t index_ = 0;
  protocol::Command command_{protocol::Expect::anything};
  protocol::Form form_ = protocol::Form::script;
  State state_ = State::done;
  bool has_sent_text_ = false;
  protocol::Reply refusal_{};                 // while a script tests what it means
  std::array<protocol::Reply, 3> answers_{};  // to the script that does nothing, and a command
  std::size_t answered_ = 0;                  // of them
  /// An error of an attempt that may have released the lock.
  std::optional<protocol::Reply> doubtful_{};
  GuardedChange change_{};
};

}  // namespace redlatch::detail
