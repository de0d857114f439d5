#pragma once

#include <chrono>
#include <cstddef>

#include <redlatch/protocol/command.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"

namespace redlatch::detail {

/// Requests of one batch that end with the same question which makes the server wait (WAIT,
/// WAITAOF): their changes are said one behind the other, and the question once behind all of them,
/// since it is about everything that was written on its connection before. Asked one by one, each
/// request would wait for all before it.
///
/// No request is kept waiting much longer than it has time: with that time over, and no
/// good answer, those that have more time left ask again.
class SharedQuestion {
 public:
  /// `slack`: how much longer than its own time a request may be kept waiting.
  SharedQuestion(Pipeline& pipeline, std::chrono::milliseconds slack)
      : pipeline_(pipeline), slack_(slack) {}

  /// Whether the exchange can be a part of it, which has a caller.
  bool takes(const PendingRequest& pending) const;
  /// Says the exchange, which is the first in the list, but for its question.
  void add(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// Says the question, if there is one. Nothing else may have been said since the first was added.
  void ask();

 private:
  std::chrono::milliseconds time() const;

  Pipeline& pipeline_;
  const std::chrono::milliseconds slack_;
  std::size_t count_ = 0;  // exchanges, the last ones of the pipeline
};

}  // namespace redlatch::detail
