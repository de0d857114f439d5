#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace demo {

/// A file with one number in it, which any process may open: the work that needs a lock.
class Ledger {
 public:
  explicit Ledger(std::string path) : path_(std::move(path)) { write(0); }

  /// Reads the number, adds one and writes it back: right only for one at a time.
  void add_one() const { write(read() + 1); }
  std::uint64_t read() const;

 private:
  void write(std::uint64_t balance) const;

  std::string path_;
};

}  // namespace demo
