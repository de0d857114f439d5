#include "background/draining_connections.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <utility>

namespace redlatch::detail {

namespace {

/// No more connections are kept while a server is silent.
constexpr std::size_t max_retired = 16;

bool has_releases(const PendingRequests& exchanges) noexcept {
  return std::any_of(exchanges.begin(), exchanges.end(),
                     [](const PendingRequest& one) { return one.is_release; });
}

/// Puts a copy of the release, or the release itself without memory for one, behind `copies`.
void copy(PendingRequests& from, PendingRequests::iterator one,
          const std::weak_ptr<const void>& connection, PendingRequests& copies) noexcept {
  try {
    PendingRequests copied(1);
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

PendingRequests DrainingConnections::adopt(Pipeline pipeline) noexcept {
  PendingRequests copies;
  TimePoint until{};
  for (auto next = pipeline.in_flight.begin(); next != pipeline.in_flight.end();) {
    const auto one = next++;
    if (!one->is_release) continue;
    until = std::max(until, one->release.until());
    copy(pipeline.in_flight, one, pipeline.alive, copies);
  }
  try {
    if (has_releases(pipeline.in_flight) && all_.size() < max_retired &&
        pipeline.connection->try_flush()) {
      Retired& one = all_.emplace_back();
      one.pipeline = std::move(pipeline);
      one.until = until;
      assert(all_.size() <= max_retired && until > TimePoint{});
      return copies;
    }
  } catch (const std::exception&) {
    // The connection is lost then, as when there are too many.
  }
  pipeline.connection->discard();
  return copies;
}

void DrainingConnections::receive_available() noexcept { std::erase_if(all_, is_over); }

bool DrainingConnections::is_over(Retired& one) noexcept {
  PendingRequests& in_flight = one.pipeline.in_flight;
  try {
    one.pipeline.receive_available();
  } catch (const std::exception&) {
    return true;
  }
  for (; !in_flight.empty() && in_flight.front().complete(); in_flight.pop_front()) {
    PendingRequest& first = in_flight.front();
    // Nothing is reported; the copy is told.
    if (first.is_release) first.release.answered(first.replies.front(), {}, BootClock::now());
  }
  return !has_releases(in_flight) || BootClock::now() >= one.until;
}

void DrainingConnections::abandon() noexcept {
  for (Retired& one : all_) one.pipeline.connection->abandon();
  all_.clear();
}

TimePoint DrainingConnections::until() const noexcept {
  TimePoint first = TimePoint::max();
  for (const Retired& one : all_) first = std::min(first, one.until);
  return first;
}

void DrainingConnections::watch(std::vector<pollfd>& descriptors) const {
  for (const Retired& one : all_) {
    descriptors.push_back({.fd = one.pipeline.connection->fd(), .events = POLLIN, .revents = 0});
  }
}

}  // namespace redlatch::detail
