#include "exchange.hpp"

#include <utility>

namespace redlatch::detail {

void Exchange::begin(TimePoint now) noexcept {
  said = now;
  replies.clear();
  change_ends = Connection::nowhere;
  repeat = false;
  commands = is_release ? 1 : caller->request.commands.size();
}

void Line::append(Exchange& exchange, TimePoint now) {
  exchange.begin(now);
  for (std::size_t i = 0; i < exchange.commands; ++i) {
    const protocol::Command command = exchange.command(i);
    exchange.forms[i] = session->form_of(command);
    exchange.expected[i] = protocol::expect_of(command, exchange.forms[i]);
    session->append(command, exchange.forms[i]);
    if (exchange.change_ends == Connection::nowhere && command.changes_data()) {
      exchange.change_ends = session->appended();
    }
  }
}

void Line::collect() {
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
