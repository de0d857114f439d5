#include "engine/pipeline.hpp"

#include <cassert>
#include <optional>
#include <utility>

namespace redlatch::detail {

void Pipeline::append(PendingRequests& from, PendingRequests::iterator pending, TimePoint now) {
  begin(from, pending, now);
  for (std::size_t i = 0; i < pending->commands; ++i)
    append_command(*pending, i, pending->command(i));
}

void Pipeline::append_without_wait(PendingRequests& from, PendingRequests::iterator pending,
                                   TimePoint now) {
  begin(from, pending, now);
  pending->shares = true;
  for (std::size_t i = 0; i < pending->own_replies(); ++i)
    append_command(*pending, i, pending->command(i));
}

void Pipeline::append_wait(PendingRequest& last, const protocol::Command& wait) {
  last.shares = false;
  append_command(last, last.commands - 1, wait);
}

void Pipeline::begin(PendingRequests& from, PendingRequests::iterator pending, TimePoint now) {
  pending->begin(now);
  pending->status = PendingRequest::Status::in_flight;
  in_flight.splice(in_flight.end(), from, pending);
}

void Pipeline::append_command(PendingRequest& pending, std::size_t i,
                              const protocol::Command& command) const {
  const protocol::Form form = forms.form_of(command);
  assert(form != protocol::Form::watch);
  pending.forms[i] = form;
  pending.expected[i] = protocol::expect_of(command, form);
  stream->append(form == protocol::Form::script ? command : protocol::native_command(form, command),
                 ScriptCall::by_hash, pending.asks() && i == 0);
  if (pending.change_ends == RespStream::nowhere && command.changes_data()) {
    pending.change_ends = stream->appended();
  }
}

void Pipeline::collect() {
  for (auto pending = in_flight.begin(); pending != in_flight.end(); ++pending) {
    while (pending->replies.size() < pending->own_replies()) {
      std::optional<protocol::Reply> reply =
          stream->next(pending->expected[pending->replies.size()]);
      if (!reply) return;
      pending->replies.push_back(*std::move(reply));
    }
    if (!pending->shares) share_reply(pending);
  }
}

/// Copies the reply to a WAIT to the requests right before `last` that share it.
void Pipeline::share_reply(PendingRequests::iterator last) {
  for (auto pending = last; pending != in_flight.begin();) {
    --pending;
    if (!pending->shares || pending->complete()) return;
    pending->replies.push_back(last->replies[last->commands - 1]);
  }
}

}  // namespace redlatch::detail
