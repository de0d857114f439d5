#include "background/draining_connections.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "net/connection.hpp"

namespace redlatch::detail {

namespace {

/// Maximum number of connections kept, each a descriptor here and at the server. Beyond it the
/// copies on new connections, and the ttl, have to do.
constexpr std::size_t max_draining = 16;

bool is_any_awaited(const PendingRequests& requests) noexcept {
  return std::ranges::any_of(requests, &PendingRequest::is_awaited_when_retired);
}

/// Appends a copy of the release to `copies`; the release itself when there is no memory for a
/// copy.
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

PendingRequests DrainingConnections::adopt(Pipeline pipeline,
                                           std::unique_ptr<Transport> transport) noexcept {
  PendingRequests copies;
  TimePoint until{};
  for (auto next = pipeline.in_flight.begin(); next != pipeline.in_flight.end();) {
    const auto one = next++;
    until = std::max(until, one->in_doubt_until);
    if (!one->is_release) continue;
    until = std::max(until, one->release.until());
    copy(pipeline.in_flight, one, pipeline.alive, copies);
  }
  try {
    if (is_any_awaited(pipeline.in_flight) && all_.size() < max_draining &&
        send_available(*pipeline.stream, *transport)) {
      Draining& one = all_.emplace_back();
      one.pipeline = std::move(pipeline);
      one.transport = std::move(transport);
      one.until = until;
      assert(all_.size() <= max_draining && until > TimePoint{});
      return copies;
    }
  } catch (const std::exception&) {
    // The connection is lost, or there is no memory to keep it: it is closed, as with too many.
  }
  transport->discard();
  return copies;
}

void DrainingConnections::receive_available() noexcept {
  std::erase_if(all_, [](Draining& one) {
    if (!is_over(one)) return false;
    one.transport->discard();  // no release follows what is still to be sent
    return true;
  });
}

bool DrainingConnections::is_over(Draining& one) noexcept {
  PendingRequests& in_flight = one.pipeline.in_flight;
  try {
    send_available(*one.pipeline.stream, *one.transport);
    receive_into(*one.pipeline.stream, *one.transport);
    one.pipeline.collect();
  } catch (const std::exception&) {
    return true;
  }
  for (; !in_flight.empty() && in_flight.front().complete(); in_flight.pop_front()) {
    PendingRequest& first = in_flight.front();
    // No event is recorded for this reply: the copy records the outcome.
    if (first.is_release) first.release.answered(first.replies.front(), {}, BootClock::now());
  }
  return !is_any_awaited(in_flight) || BootClock::now() >= one.until;
}

void DrainingConnections::abandon() noexcept {
  for (Draining& one : all_) one.transport->close();
  all_.clear();
}

TimePoint DrainingConnections::until() const noexcept {
  TimePoint first = TimePoint::max();
  for (const Draining& one : all_) first = std::min(first, one.until);
  return first;
}

void DrainingConnections::watch(std::vector<pollfd>& descriptors) const {
  for (const Draining& one : all_) {
    descriptors.push_back({.fd = one.transport->fd(), .events = POLLIN, .revents = 0});
  }
}

}  // namespace redlatch::detail
