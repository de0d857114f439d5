#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "child.hpp"
#include "trouble.hpp"

namespace redlatch::test {

/// Processes in so many places. One that was killed is replaced by another one with a new number.
class Workers {
 public:
  using Work = std::function<void(std::size_t place, std::uint16_t number)>;

  Workers(std::size_t places, Work work);

  std::size_t size() const noexcept { return places_.size(); }
  /// SIGSTOP and SIGCONT. Seen to land if it stood still.
  Trouble stop(std::size_t place);
  /// SIGKILL; another one starts at the end. Seen to land if it ran, or stood still, and has ended.
  Trouble kill(std::size_t place);
  /// Waits for the end of all of them. What was wrong with that, each in a sentence.
  std::vector<std::string> end();

 private:
  struct Place {
    std::uint16_t number;
    std::unique_ptr<Child> child;
  };

  void start(std::size_t place);

  Work work_;
  std::uint16_t started_ = 0;
  std::vector<Place> places_{};
  std::vector<std::string> crashes_{};
};

}  // namespace redlatch::test
