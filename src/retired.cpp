#include "retired.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <utility>

namespace redlatch::detail {

namespace {

/// So many are kept, and no more, while a server is silent.
constexpr std::size_t most_retired = 16;

bool has_releases(const Exchanges& exchanges) noexcept {
  return std::any_of(exchanges.begin(), exchanges.end(),
                     [](const Exchange& one) { return one.is_release; });
}

}  // namespace

Exchanges RetiredConnections::adopt(Pipeline pipeline) noexcept {
  TimePoint until{};
  for (const Exchange& one : pipeline.unanswered) {
    if (one.is_release) until = std::max(until, one.release.until());
  }
  if (until == TimePoint{}) return {};
  try {
    if (all_.size() < most_retired && pipeline.session->try_flush()) {
      Retired& one = all_.emplace_back();
      one.pipeline = std::move(pipeline);
      one.until = until;
      return {};
    }
  } catch (const std::exception&) {
    // It is lost then, as when there are too many.
  }
  return lose(pipeline);
}

/// The server may read what was sent on it, or not.
Exchanges RetiredConnections::lose(Pipeline& pipeline) noexcept {
  Exchanges open;
  for (auto next = pipeline.unanswered.begin(); next != pipeline.unanswered.end();) {
    const auto one = next++;
    if (!one->is_release) continue;
    one->release.broke(Errc::timed_out, BootClock::now());
    open.splice(open.end(), pipeline.unanswered, one);
  }
  pipeline.session.reset();
  return open;
}

void RetiredConnections::take_in(Exchanges& open, std::chrono::milliseconds settling,
                                 const Note& note) {
  std::erase_if(all_, [&](Retired& one) { return is_over(one, settling, note, open); });
}

bool RetiredConnections::is_over(Retired& one, std::chrono::milliseconds settling, const Note& note,
                                 Exchanges& open) {
  Exchanges& unanswered = one.pipeline.unanswered;
  try {
    one.pipeline.take_in();
  } catch (const std::exception&) {
    open.splice(open.end(), lose(one.pipeline));
    return true;
  }
  const TimePoint now = BootClock::now();
  while (!unanswered.empty() && unanswered.front().complete()) {
    Exchange& first = unanswered.front();
    if (first.is_release) {
      const auto fate = first.release.answered(first.replies.front(), settling, now);
      if (!fate) {
        open.splice(open.end(), unanswered, unanswered.begin());
        continue;
      }
      note(first.release, *fate);
    }
    unanswered.pop_front();
  }
  if (now < one.until) return !has_releases(unanswered);
  for (const Exchange& silent : unanswered) {
    if (silent.is_release) note(silent.release, silent.release.run_out());
  }
  return true;
}

Exchanges RetiredConnections::close() noexcept {
  Exchanges open;
  for (Retired& one : all_) open.splice(open.end(), lose(one.pipeline));
  all_.clear();
  return open;
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
