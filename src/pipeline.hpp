#pragma once

#include <memory>

#include "exchange.hpp"
#include "session.hpp"

namespace redlatch::detail {

/// A connection, and what was said on it and is not answered yet.
struct Pipeline {
  std::unique_ptr<Session> session{};
  /// Ends with the connection, for what has to know that nothing more arrives by it.
  std::shared_ptr<const void> life{};
  Exchanges unanswered{};

  /// Says the first of the list's exchanges behind the others.
  void append(Exchanges& from, Exchanges::iterator one, TimePoint now);
  /// Sends and takes in what can be without waiting.
  void take_in();
  /// Gives the replies that have come to the exchanges that they belong to.
  void collect();
};

}  // namespace redlatch::detail
