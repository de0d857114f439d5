#include "engine/pipeline.hpp"

#include <optional>
#include <utility>

namespace redlatch::detail {

void Pipeline::append(Exchanges& from, Exchanges::iterator one, TimePoint now) {
  begin(from, one, now);
  for (std::size_t i = 0; i < one->commands; ++i) say(*one, i, one->command(i));
}

void Pipeline::append_change(Exchanges& from, Exchanges::iterator one, TimePoint now) {
  begin(from, one, now);
  one->shares = true;
  for (std::size_t i = 0; i < one->own_replies(); ++i) say(*one, i, one->command(i));
}

void Pipeline::append_question(Exchange& last, const protocol::Command& question) {
  last.shares = false;
  say(last, last.commands - 1, question);
}

void Pipeline::begin(Exchanges& from, Exchanges::iterator one, TimePoint now) {
  one->begin(now);
  one->place = Exchange::Place::unanswered;
  unanswered.splice(unanswered.end(), from, one);
}

void Pipeline::say(Exchange& one, std::size_t i, const protocol::Command& command) const {
  one.forms[i] = session->form_of(command);
  one.expected[i] = protocol::expect_of(command, one.forms[i]);
  session->append(command, one.forms[i]);
  if (one.change_ends == Connection::nowhere && command.changes_data()) {
    one.change_ends = session->appended();
  }
}

void Pipeline::take_in() {
  session->try_flush();
  while (session->take_in()) {
  }
  collect();
}

void Pipeline::collect() {
  for (auto one = unanswered.begin(); one != unanswered.end(); ++one) {
    while (one->replies.size() < one->own_replies()) {
      std::optional<protocol::Reply> reply = session->next(one->expected[one->replies.size()]);
      if (!reply) return;
      one->replies.push_back(*std::move(reply));
    }
    if (!one->shares) share_answer(one);
  }
}

/// With the exchanges right before it that share its last command, unless they have it already.
void Pipeline::share_answer(Exchanges::iterator last) {
  for (auto one = last; one != unanswered.begin();) {
    --one;
    if (!one->shares || one->complete()) return;
    one->replies.push_back(last->replies[last->commands - 1]);
  }
}

}  // namespace redlatch::detail
