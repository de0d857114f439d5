#pragma once

#include <utility>

namespace redlatch::detail {

/// Runs an action at the end of its scope, also if an exception leaves it.
template <class Action>
class Finally {
 public:
  explicit Finally(Action action) : action_(std::move(action)) {}
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;
  ~Finally() { action_(); }

 private:
  Action action_;
};

}  // namespace redlatch::detail
