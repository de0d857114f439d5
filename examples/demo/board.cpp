#include "board.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <vector>

namespace demo {

void Board::add_hand_over(Nanoseconds time) noexcept {
  const std::size_t at = samples.fetch_add(1);
  if (at < most_samples) hand_over_us.at(at) = static_cast<std::uint32_t>(time / 1000);
}

std::optional<double> Board::hand_over_ms(double share) const {
  const std::size_t count = std::min(samples.load(), most_samples);
  if (count == 0) return std::nullopt;
  std::vector<std::uint32_t> sorted(count);
  std::copy_n(hand_over_us.begin(), count, sorted.begin());
  std::sort(sorted.begin(), sorted.end());
  const auto at = static_cast<std::size_t>(share * static_cast<double>(count - 1));
  return static_cast<double>(sorted[at]) / 1000;
}

SharedBoard::SharedBoard() {
  void* memory =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  board_ = new (memory) Board;
}

SharedBoard::~SharedBoard() { ::munmap(board_, sizeof(Board)); }

}  // namespace demo
