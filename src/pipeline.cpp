#include "pipeline.hpp"

#include <optional>
#include <utility>

namespace redlatch::detail {

void Pipeline::append(Exchanges& from, Exchanges::iterator one, TimePoint now) {
  one->begin(now);
  one->place = Exchange::Place::unanswered;
  unanswered.splice(unanswered.end(), from, one);
  for (std::size_t i = 0; i < one->commands; ++i) {
    const protocol::Command command = one->command(i);
    one->forms[i] = session->form_of(command);
    one->expected[i] = protocol::expect_of(command, one->forms[i]);
    session->append(command, one->forms[i]);
    if (one->change_ends == Connection::nowhere && command.changes_data()) {
      one->change_ends = session->appended();
    }
  }
}

void Pipeline::take_in() {
  session->try_flush();
  while (session->take_in()) {
  }
  collect();
}

void Pipeline::collect() {
  for (Exchange& exchange : unanswered) {
    while (!exchange.complete()) {
      std::optional<protocol::Reply> reply =
          session->next(exchange.expected[exchange.replies.size()]);
      if (!reply) return;
      exchange.replies.push_back(*std::move(reply));
    }
  }
}

}  // namespace redlatch::detail
