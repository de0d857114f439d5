#include "ledger.hpp"

#include <fstream>
#include <stdexcept>

namespace demo {

std::uint64_t Ledger::read() const {
  std::uint64_t balance = 0;
  std::ifstream(path_) >> balance;
  return balance;
}

void Ledger::write(std::uint64_t balance) const {
  // Not truncated first: an unlocked reader sees an old number rather than none.
  std::fstream file(path_, std::ios::in | std::ios::out);
  if (!file) file.open(path_, std::ios::out);
  file << balance << '\n' << std::flush;
  if (!file) throw std::runtime_error("cannot write " + path_);
}

}  // namespace demo
