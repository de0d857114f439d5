#include "aftermath.hpp"

#include <utility>

namespace redlatch::detail {

void Aftermath::open(Exchanges& from, Exchanges::iterator release) noexcept {
  Exchanges one;
  one.splice(one.end(), from, release);
  open(std::move(one));
}

void Aftermath::open_releases(Exchanges& from) noexcept {
  for (auto next = from.begin(); next != from.end();) {
    const auto one = next++;
    if (one->is_release) open(from, one);
  }
}

}  // namespace redlatch::detail
