#pragma once

#include <mutex>

namespace redlatch::detail {

/// Releases a mutex for a while.
class Unlocked {
 public:
  explicit Unlocked(std::unique_lock<std::mutex>& guard) : guard_(guard) { guard_.unlock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() { guard_.lock(); }

 private:
  std::unique_lock<std::mutex>& guard_;
};

}  // namespace redlatch::detail
