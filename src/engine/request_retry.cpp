#include "engine/request_retry.hpp"

#include <cassert>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/refusal.hpp"

namespace redlatch::detail {

using protocol::Command;
using protocol::Expect;
using protocol::Form;
using protocol::Reply;
using protocol::Script;

namespace {

/// The name of the command that sends the call in that form, or the beginning of such names.
std::string_view name_of(Form form) noexcept {
  switch (form) {
    case Form::script:
      return "EVAL";
    case Form::delex:
      return "DELEX";
    case Form::delifeq:
      return "DELIFEQ";
    case Form::set_ifeq:
      return "SET";
    case Form::watch:
      break;
  }
  return "WATCH";
}

/// Whether the server may have carried out a release that it answered with this error.
bool may_have_released(const Reply& refusal, Form form) noexcept {
  return is_odd(refusal) && !protocol::refuses_by_name(refusal.text, name_of(form));
}

/// A script's error of an unknown kind is a refusal only when `are_scripts_refused` has found that.
/// In another form it may be one, and to retry the call in yet another form does no harm.
bool is_refusal(const Reply& reply, Form form) noexcept {
  if (!reply.is_error()) return false;
  return form == Form::script ? protocol::refuses_command(reply.text)
                              : protocol::may_refuse_command(reply.text);
}

}  // namespace

bool RequestRetry::begin(PendingRequest& request, TimePoint now, TimePoint end, RespStream& stream,
                         ScriptForms& forms, Closings& closings) {
  assert(!in_progress() && stream.owed() == 0);
  stream_ = &stream;
  forms_ = &forms;
  closings_ = &closings;
  end_ = end;
  heard_at_ = now;
  script_ = request.command(0).script();
  is_abandoned_ = false;
  has_acted_ = request.change_ends != RespStream::nowhere;
  index_ = 0;
  change_ = {};
  if (request.repeat) {
    request.sent_at = now;
    request.cut_short = request.shares = false;
    request.replies.clear();
  }
  request_ = &request;
  start_command(now);
  return advance(now);
}

bool RequestRetry::advance(TimePoint now) {
  assert(in_progress());
  while (state_ != State::done) {
    std::optional<Reply> reply = stream_->next(expected());
    if (!reply) return false;
    take(*std::move(reply), now);
  }
  request_ = nullptr;
  return true;
}

Expect RequestRetry::expected() const noexcept {
  switch (state_) {
    case State::asking:
      return protocol::expect_of(command_, form_);
    case State::guarded:
      return change_.expected();
    case State::testing:
      return answered_ < 2 ? Expect::integer : Expect::anything;
    default:
      return Expect::anything;
  }
}

void RequestRetry::take(Reply reply, TimePoint now) {
  heard_at_ = now;
  switch (state_) {
    case State::asking:
      return judge(std::move(reply), now);
    case State::testing:
      answers_.at(answered_++) = std::move(reply);
      if (answered_ < answers_.size()) return;
      if (protocol::are_scripts_refused(answers_[0], answers_[1], answers_[2])) {
        refusal_ = refused_for_certain(std::move(refusal_));
      }
      return conclude(std::move(refusal_), now);
    case State::learning:
      closings_->note_answered(Closings::Step::abilities);
      forms_->learn(reply);
      return send_in_next_form(now);
    case State::guarded: {
      std::optional<Reply> done = change_.received(std::move(reply), now, end_, *stream_);
      if (done || change_.kept_changing()) closings_->note_answered(Closings::Step::transaction);
      if (!done && !has_acted_) {
        request_->change_ends = change_.may_change() ? stream_->appended() : RespStream::nowhere;
      }
      if (change_.kept_changing()) state_ = State::done;
      if (done) judge(*std::move(done), now);
      return;
    }
    case State::done:
      break;
  }
}

void RequestRetry::start_command(TimePoint now) {
  if (index_ == request_->commands) {
    state_ = State::done;
    return;
  }
  doubtful_.reset();
  has_sent_text_ = false;
  command_ = request_->command(index_);
  if (!request_->repeat) {
    form_ = request_->forms[index_];
    return judge(std::move(request_->replies[index_]), now);
  }
  if (request_->may_block() && index_ + 1 == request_->commands) {
    command_ = command_.with_last(request_->time_to_block(now));
  }
  form_ = forms_->form_of(command_);
  if (form_ == Form::watch) return send_guarded(now);
  append(form_ == Form::script ? command_ : protocol::native_command(form_, command_));
  state_ = State::asking;
}

void RequestRetry::append(const Command& command, ScriptCall call) {
  stream_->append(command, call, request_->asks());
  if (request_->change_ends == RespStream::nowhere && command.changes_data()) {
    request_->change_ends = stream_->appended();
  }
}

/// Decides by the reply in the present form whether another form is needed.
void RequestRetry::judge(Reply reply, TimePoint now) {
  if (is_abandoned_) {
    state_ = State::done;
    return;
  }
  note_change(reply);
  if (command_.script() == nullptr) return finish_command(std::move(reply), now);
  if (form_ == Form::script && !has_sent_text_ && reply.text.starts_with("NOSCRIPT")) {
    has_sent_text_ = true;
    append(command_, ScriptCall::by_text);
    state_ = State::asking;
    return;
  }
  const bool releases = command_.script()->effect == Script::Effect::remove ||
                        command_.script()->effect == Script::Effect::replace;
  if (releases && !doubtful_ && may_have_released(reply, form_)) doubtful_ = reply;
  if (form_ != Form::script || !is_odd(reply)) return conclude(std::move(reply), now);
  // Of a batch, what is behind the first need not be found out.
  if (forms_->has_other_forms(*command_.script()) && forms_->are_scripts_refused()) {
    return conclude(refused_for_certain(std::move(reply)), now);
  }
  refusal_ = std::move(reply);
  const std::string_view key = command_.argument(0);
  const Command harmless(protocol::harmless_script, key);
  stream_->append(harmless, ScriptCall::by_text);
  stream_->append(harmless, ScriptCall::by_hash);
  stream_->append(Command(Expect::anything, "GETRANGE", key, std::int64_t{0}, std::int64_t{0}));
  answered_ = 0;
  state_ = State::testing;
}

void RequestRetry::conclude(Reply reply, TimePoint now) {
  if (is_abandoned_) {
    state_ = State::done;
    return;
  }
  if (!is_refusal(reply, form_) || !forms_->has_other_forms(*command_.script())) {
    // The key may be gone by the attempt before.
    const bool is_gone = protocol::vote(reply) == protocol::Vote::no;
    return finish_command(doubtful_ && is_gone ? *std::move(doubtful_) : std::move(reply), now);
  }
  switch (forms_->refused(form_, *closings_, now)) {
    case ScriptForms::Next::nothing:
      return finish_command(std::move(reply), now);
    case ScriptForms::Next::other_form:
      return send_in_next_form(now);
    case ScriptForms::Next::ask:
      stream_->append(protocol::ask_abilities());
      step_begun_ = now;
      state_ = State::learning;
      return;
  }
}

void RequestRetry::send_in_next_form(TimePoint now) {
  if (is_abandoned_) {
    state_ = State::done;
    return;
  }
  form_ = forms_->form_of(command_);
  if (form_ == Form::watch) return send_guarded(now);
  append(protocol::native_command(form_, command_));
  state_ = State::asking;
}

void RequestRetry::send_guarded(TimePoint now) {
  if (closings_->leaves_out(Closings::Step::transaction, now)) {
    return judge(
        {.kind = Reply::Kind::error, .text = protocol::as_refusal("WATCH ends the connection")},
        now);
  }
  step_begun_ = now;
  state_ = State::guarded;
  change_.begin(command_, *stream_, request_->asks());
}

void RequestRetry::finish_command(Reply reply, TimePoint now) {
  if (request_->repeat) {
    request_->replies.push_back(std::move(reply));
  } else {
    request_->replies[index_] = std::move(reply);
  }
  ++index_;
  start_command(now);
}

/// A command that the server has refused for certain leaves no doubt; what it has carried out is
/// done whatever becomes of the commands behind it.
void RequestRetry::note_change(const Reply& reply) noexcept {
  if (has_acted_ || !command_.changes_data()) return;
  has_acted_ = may_have_acted(command_, reply);
  if (!has_acted_) {
    request_->change_ends = RespStream::nowhere;
  } else if (request_->change_ends == RespStream::nowhere) {
    request_->change_ends = 0;
  }
}

void RequestRetry::abandon() noexcept {
  if (!in_progress()) return;
  is_abandoned_ = true;
  change_.abandon();
  // As long as more commands have to follow, nothing else can.
  const bool is_looking = state_ == State::guarded && !change_.is_sent();
  if (is_looking || state_ == State::learning) return;
  PendingRequest& request = *std::exchange(request_, nullptr);
  request.sent_at = heard_at_;
  request.replies.clear();
  request.shares = false;
  request.commands = 0;
  if (state_ == State::testing) {
    for (; answered_ < answers_.size(); ++answered_)
      request.expected.at(request.commands++) = expected();
  } else if (state_ == State::guarded) {
    for (; !change_.is_answered(); change_.skip())
      request.expected.at(request.commands++) = expected();
  } else {
    request.expected.at(request.commands++) = expected();
  }
}

void RequestRetry::stop(Errc why, TimePoint now) noexcept {
  if (std::exchange(request_, nullptr) == nullptr || why != Errc::unreachable) return;
  if (state_ == State::learning)
    closings_->note_closed(Closings::Step::abilities, step_begun_, now);
  if (state_ == State::guarded)
    closings_->note_closed(Closings::Step::transaction, step_begun_, now);
}

}  // namespace redlatch::detail
