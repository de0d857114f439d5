#include "client/quorum_request.hpp"

#include <algorithm>
#include <cstddef>
#include <new>
#include <system_error>
#include <utility>

#include <redlatch/protocol/reply.hpp>

#include "net/poll.hpp"

namespace redlatch::detail {

std::unique_ptr<Bell> Bells::take() {
  {
    const std::lock_guard guard(mutex_);
    if (!spare_.empty()) {
      std::unique_ptr<Bell> bell = std::move(spare_.back());
      spare_.pop_back();
      return bell;
    }
  }
  try {
    return std::make_unique<Bell>();
  } catch (const std::system_error& error) {
    throw Error(Errc::unreachable, error.what());
  }
}

void Bells::put_back(std::unique_ptr<Bell> bell) noexcept {
  const std::lock_guard guard(mutex_);
  if (spare_.size() >= max_spare) return;
  try {
    spare_.push_back(std::move(bell));
  } catch (const std::bad_alloc&) {
    // Then it is made anew the next time.
  }
}

Round::Round(std::span<const std::unique_ptr<Node>> nodes, std::span<const Request> requests,
             std::span<Response> responses, Connecting connecting, Bell& bell, const Ends& ends)
    : Round(responses, bell) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    begin(parts_.emplace_back(*nodes[i], requests[i], responses[i]), connecting, ends);
  }
}

/// Whether there is a connection still is seen when something is said on it.
void Round::begin(Part& part, Connecting connecting, const Ends& ends) {
  part.concluded = true;
  part.caller.bell = &bell_;
  part.caller.end = ends.connected;
  part.channel.begin(part.caller);
  part.concluded = false;
  part.connects = !part.caller.done() && part.channel.fd() < 0;
  if (!part.connects) return;
  if (connecting != Connecting::never && part.node.may_connect(BootClock::now())) {
    part.channel.extend(part.caller, ends.connecting);
    return part.node.core().connect(part.channel);
  }
  part.channel.leave(part.caller);
  part.caller.take_posts();
  part.concluded = true;
  part.response.failure =
      protocol::about(part.node.why(), part.caller.request.key, part.node.core().server(0),
                      "connecting to it has failed a moment ago");
}

Round::~Round() { leave(); }

void Round::leave() noexcept {
  for (Part& part : parts_) {
    if (std::exchange(part.concluded, true)) continue;
    part.channel.leave(part.caller);
    part.caller.take_posts();
    part.response.sent = part.answer.sent;
    part.response.connection = part.answer.connection;
  }
}

std::size_t Round::connected() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(parts_.begin(), parts_.end(), [](const Part& part) { return !part.connects; }));
}

void Round::wait(Executor::Enough enough, TimePoint end, TimePoint end_for_new) {
  // What has come by the end counts, whoever was waited for before.
  for (bool in_time = true; in_time && !is_over(enough, end_for_new);) {
    in_time = BootClock::now() < end;
    sleep(enough(responses_) ? end_for_new : end);
  }
  static_cast<void>(is_over(enough, end_for_new));
  for (const Part& part : parts_) part.node.note_waited();
}

bool Round::is_over(Executor::Enough enough, TimePoint end_for_new) {
  bool all = true;
  bool awaits_new = false;
  for (Part& part : parts_) {
    if (!part.concluded && part.caller.done()) conclude(part);
    all = all && part.concluded;
    awaits_new = awaits_new || (!part.concluded && part.connects && part.node.is_new());
  }
  if (all) return true;
  return enough(responses_) && !(awaits_new && BootClock::now() < end_for_new);
}

void Round::conclude(Part& part) {
  part.concluded = true;
  if (part.connects && part.caller.failure) {
    part.node.note_failure(BootClock::now(), part.caller.failure->code());
  }
  part.channel.conclude(part.caller);
  part.response = std::move(part.answer);
}

void Round::end() {
  for (Part& part : parts_) {
    if (part.concluded) continue;
    part.channel.leave(part.caller);
    conclude(part);
  }
}

void Round::sleep(TimePoint end) {
  std::vector<pollfd> watched{{.fd = bell_.fd(), .events = POLLIN, .revents = 0}};
  std::vector<Channel*> channels;
  bell_.listen();
  bool is_done = false;
  for (Part& part : parts_) {
    if (part.concluded) continue;
    is_done = is_done || part.caller.done();
    watched.push_back({.fd = part.channel.fd(), .events = POLLIN, .revents = 0});
    channels.push_back(&part.channel);
  }
  if (!is_done) poll_until(watched, end);
  bell_.stop_listening();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (watched[i + 1].revents != 0) channels[i]->look(end);
  }
}

}  // namespace redlatch::detail
