#include "arena.hpp"

#include <stdexcept>

namespace redlatch::benchmark {

Parting Arena::enter(std::size_t contender) noexcept {
  const std::size_t other = holder_.exchange(contender);
  if (other != nobody) {
    fail("contenders " + std::to_string(contender) + " and " + std::to_string(other) +
         " held the lock at the same time");
  }
  return last_;
}

void Arena::leave(std::size_t contender) noexcept {
  last_ = {contender, waiting > 0, Clock::now()};
  const std::size_t holder = holder_.exchange(nobody);
  if (holder != contender) {
    fail("somebody else had the lock while contender " + std::to_string(contender) + " held it");
  }
}

void Arena::fail(const std::string& what) noexcept {
  if (failing_.exchange(true)) return;
  what.copy(failure_.data(), failure_.size() - 1);
  failed_ = true;
}

void Arena::check() const {
  if (failed_) throw std::runtime_error(failure_.data());
}

}  // namespace redlatch::benchmark
