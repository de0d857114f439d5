#include "client/quorum_request.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <new>
#include <stop_token>
#include <system_error>
#include <utility>

#include <redlatch/protocol/reply.hpp>

#include "net/poll.hpp"

namespace redlatch::detail {

// The descriptor is made without the mutex: that takes a system call, for which other calls would
// wait.
std::unique_ptr<PollNotifier> PollNotifierPool::take() {
  {
    const MutexLock lock(mutex_);
    if (!spare_.empty()) {
      std::unique_ptr<PollNotifier> poll_notifier = std::move(spare_.back());
      spare_.pop_back();
      return poll_notifier;
    }
  }
  try {
    return std::make_unique<PollNotifier>();
  } catch (const std::system_error& error) {
    throw Error(Errc::unreachable, "no descriptor can be had to wait for the servers (" +
                                       error.code().message() + "); allow more");
  }
}

void PollNotifierPool::put_back(std::unique_ptr<PollNotifier> poll_notifier) noexcept {
  const MutexLock lock(mutex_);
  if (spare_.size() >= max_spare) return;
  try {
    spare_.push_back(std::move(poll_notifier));
  } catch (const std::bad_alloc&) {
    // Without memory it is closed, and the next call makes another one.
  }
}

QuorumRequest::QuorumRequest(std::span<const std::unique_ptr<Node>> nodes,
                             std::span<const Request> requests, std::span<Response> responses,
                             ConnectPolicy policy, PollNotifier& poll_notifier, const Ends& ends)
    : QuorumRequest(responses, poll_notifier) {
  assert(requests.size() == nodes.size() && responses.size() == nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    begin(calls_.emplace_back(*nodes[i], requests[i], responses[i]), policy, ends);
  }
}

/// A connection that the server has closed is noticed by `begin`, which sends on it.
void QuorumRequest::begin(NodeCall& node_call, ConnectPolicy policy, const Ends& ends) {
  // If `begin` throws, the request is not queued, and the destructor must not leave it.
  node_call.concluded = true;
  node_call.call.poll_notifier = &poll_notifier_;
  node_call.call.end = ends.connected;
  node_call.connection.begin(node_call.call);
  node_call.concluded = false;
  node_call.connects = !node_call.call.done() && node_call.connection.fd() < 0;
  if (!node_call.connects) return;
  if (policy == ConnectPolicy::never || !node_call.node.may_connect(BootClock::now())) {
    return fail(node_call, node_call.node.failure());
  }
  node_call.connection.extend(node_call.call, ends.connecting);
  if (const std::error_code why = node_call.node.core().connect(node_call.connection); why) {
    fail(node_call,
         IoError(Errc::unreachable, "no thread can be started to connect (" + why.message() + ")"));
  }
}

/// Leaves a call that is not connected, unless another thread has connected it in this moment, and
/// has sent it.
void QuorumRequest::fail(NodeCall& node_call, const IoError& why) {
  node_call.connection.leave(node_call.call);
  if (!node_call.call.failure || node_call.call.in_doubt) {
    node_call.connects = false;
    return conclude(node_call);
  }
  node_call.call.take_posts();
  node_call.concluded = true;
  node_call.response.failure = protocol::about(why.code(), node_call.call.request.key,
                                               node_call.node.core().server(0), why.what());
}

QuorumRequest::~QuorumRequest() { leave(); }

/// `take_posts`, as a leader may have completed the call in this moment and be about to notify it,
/// and the call is destroyed next.
void QuorumRequest::leave() noexcept {
  for (NodeCall& node_call : calls_) {
    if (std::exchange(node_call.concluded, true)) continue;
    node_call.connection.leave(node_call.call);
    node_call.call.take_posts();
    node_call.response.sent = node_call.answer.sent;
    node_call.response.connection = node_call.answer.connection;
  }
}

std::size_t QuorumRequest::connected() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      calls_.begin(), calls_.end(), [](const NodeCall& node_call) { return !node_call.connects; }));
}

void QuorumRequest::wait(RequestTransport::Enough enough, TimePoint end, TimePoint end_for_new) {
  const std::stop_token* const stop = calls_.front().call.request.stop;
  const std::stop_callback stopping(stop != nullptr ? *stop : std::stop_token(),
                                    [this] { poll_notifier_.notify(); });
  // Replies that have come by the end count, also when the thread woke up too late to read them.
  for (bool in_time = true; in_time && !is_over(enough, end_for_new);) {
    in_time = BootClock::now() < (is_stopped() ? std::min(end, end_for_new) : end);
    sleep(enough(responses_) ? end_for_new : end, end_for_new);
  }
  static_cast<void>(is_over(enough, end_for_new));
  for (const NodeCall& node_call : calls_) node_call.node.note_waited();
}

/// A server that no call has waited for yet is waited for although the others are enough, so that
/// the first lock of a quorum is acquired on all servers that are there.
bool QuorumRequest::is_over(RequestTransport::Enough enough, TimePoint end_for_new) {
  bool all = true;
  bool awaits_new = false;
  for (NodeCall& node_call : calls_) {
    if (!node_call.concluded && node_call.call.done()) conclude(node_call);
    if (is_to_be_left(node_call)) {
      node_call.connection.leave(node_call.call);
      conclude(node_call);
    }
    all = all && node_call.concluded;
    awaits_new =
        awaits_new || (!node_call.concluded && node_call.connects && node_call.node.is_new());
  }
  if (all) return true;
  return enough(responses_) && !(awaits_new && BootClock::now() < end_for_new);
}

/// Whether a stop was requested while the server was being connected.
bool QuorumRequest::is_to_be_left(const NodeCall& node_call) noexcept {
  return !node_call.concluded && node_call.connects && node_call.call.request.is_stopped() &&
         node_call.connection.fd() < 0;
}

void QuorumRequest::conclude(NodeCall& node_call) {
  node_call.concluded = true;
  if (node_call.connects && node_call.call.failure && !node_call.call.request.is_stopped()) {
    node_call.node.note_failure(BootClock::now(), node_call.call.failure->code(),
                                node_call.connection);
  }
  node_call.connection.conclude(node_call.call);
  node_call.response = std::move(node_call.answer);
}

void QuorumRequest::end() {
  for (NodeCall& node_call : calls_) {
    if (node_call.concluded) continue;
    node_call.connection.leave(node_call.call);
    conclude(node_call);
  }
}

void QuorumRequest::sleep(TimePoint end, TimePoint end_if_stopped) {
  std::vector<pollfd> watched{{.fd = poll_notifier_.fd(), .events = POLLIN, .revents = 0}};
  std::vector<SharedConnection*> connections;
  // Listens before the calls are looked at, so that a leader that completes one later than that
  // ends the poll. For bytes that a leader reads the poll ends as well, and `look` does nothing.
  poll_notifier_.listen();
  bool is_done = false;
  for (NodeCall& node_call : calls_) {
    if (node_call.concluded) continue;
    is_done = is_done || node_call.call.done() || is_to_be_left(node_call);
    watched.push_back({.fd = node_call.connection.fd(), .events = POLLIN, .revents = 0});
    connections.push_back(&node_call.connection);
  }
  if (is_stopped()) end = std::min(end, end_if_stopped);
  if (!is_done) poll_until(watched, end);
  poll_notifier_.stop_listening(watched.front().revents != 0);
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (watched[i + 1].revents != 0) connections[i]->look();
  }
}

}  // namespace redlatch::detail
