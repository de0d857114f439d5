#pragma once

#include <utility>

namespace redlatch::detail {

/// Does something at the end of its scope, however that is left.
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
