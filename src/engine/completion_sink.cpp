#include "engine/completion_sink.hpp"

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

bool Aftermath::answered(Exchanges& from, Exchanges::iterator one,
                         std::chrono::milliseconds settling) noexcept {
  const protocol::Reply& reply = one->replies.front();
  if (one->is_renewal) {
    renewed(one->renewal, reply, one->said);
    return true;
  }
  const auto fate = one->release.answered(reply, settling, BootClock::now());
  if (!fate) {
    open(from, one);
  } else if (*fate != Fate::done) {
    ended(one->release, *fate);
  }
  return fate.has_value();
}

}  // namespace redlatch::detail
