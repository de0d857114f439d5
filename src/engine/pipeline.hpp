#pragma once

#include <memory>

#include "engine/pending_request.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// A connection, and what was said on it and is not answered yet.
struct Pipeline {
  std::unique_ptr<Session> session{};
  /// Ends with the connection, for what has to know that nothing more arrives by it.
  std::shared_ptr<const void> life{};
  Exchanges unanswered{};

  /// Says the first of the list's exchanges behind the others.
  void append(Exchanges& from, Exchanges::iterator one, TimePoint now);
  /// The same for all but its last command, whose answer it shares with the exchanges behind it...
  void append_change(Exchanges& from, Exchanges::iterator one, TimePoint now);
  /// ...up to the last one, for which it is said.
  void append_question(Exchange& last, const protocol::Command& question);
  /// Sends and takes in what can be without waiting.
  void take_in();
  /// Gives the replies that have come to the exchanges that they belong to.
  void collect();

 private:
  void begin(Exchanges& from, Exchanges::iterator one, TimePoint now);
  void say(Exchange& one, std::size_t i, const protocol::Command& command) const;
  void share_answer(Exchanges::iterator last);
};

}  // namespace redlatch::detail
