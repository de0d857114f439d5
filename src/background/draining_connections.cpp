#include "background/draining_connections.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <utility>

namespace redlatch::detail {

namespace {

/// No more connections are kept while a server is silent.
constexpr std::size_t max_retired = 16;

bool has_releases(const Exchanges& exchanges) noexcept {
  return std::any_of(exchanges.begin(), exchanges.end(),
                     [](const Exchange& one) { return one.is_release; });
}

/// Puts a copy of the release, or the release itself without memory for one, behind `copies`.
void copy(Exchanges& from, Exchanges::iterator one, const std::weak_ptr<const void>& connection,
          Exchanges& copies) noexcept {
  try {
    Exchanges copied(1);
    copied.front().is_release = true;
    copied.front().route = one->route;
    one->release.hand_on_to(copied.front().release);
    copies.splice(copies.end(), copied);
  } catch (const std::bad_alloc&) {
    copies.splice(copies.end(), from, one);
  }
  copies.back().release.may_be_overtaken(connection);
  copies.back().release.broke(Errc::timed_out, BootClock::now());
}

}  // namespace

Exchanges RetiredConnections::adopt(Pipeline pipeline) noexcept {
  Exchanges copies;
  TimePoint until{};
  for (auto next = pipeline.unanswered.begin(); next != pipeline.unanswered.end();) {
    const auto one = next++;
    if (!one->is_release) continue;
    until = std::max(until, one->release.until());
    copy(pipeline.unanswered, one, pipeline.life, copies);
  }
  try {
    if (has_releases(pipeline.unanswered) && all_.size() < max_retired &&
        pipeline.session->try_flush()) {
      Retired& one = all_.emplace_back();
      one.pipeline = std::move(pipeline);
      one.until = until;
      return copies;
    }
  } catch (const std::exception&) {
    // The connection is lost then, as when there are too many.
  }
  pipeline.session->discard();
  return copies;
}

void RetiredConnections::take_in() noexcept { std::erase_if(all_, is_over); }

bool RetiredConnections::is_over(Retired& one) noexcept {
  Exchanges& unanswered = one.pipeline.unanswered;
  try {
    one.pipeline.take_in();
  } catch (const std::exception&) {
    return true;
  }
  for (; !unanswered.empty() && unanswered.front().complete(); unanswered.pop_front()) {
    Exchange& first = unanswered.front();
    // Nothing is reported; the copy is told.
    if (first.is_release) first.release.answered(first.replies.front(), {}, BootClock::now());
  }
  return !has_releases(unanswered) || BootClock::now() >= one.until;
}

void RetiredConnections::abandon() noexcept {
  for (Retired& one : all_) one.pipeline.session->abandon();
  all_.clear();
}

TimePoint RetiredConnections::until() const noexcept {
  TimePoint first = TimePoint::max();
  for (const Retired& one : all_) first = std::min(first, one.until);
  return first;
}

void RetiredConnections::watch(std::vector<pollfd>& descriptors) const {
  for (const Retired& one : all_) {
    descriptors.push_back({.fd = one.pipeline.session->fd(), .events = POLLIN, .revents = 0});
  }
}

}  // namespace redlatch::detail
