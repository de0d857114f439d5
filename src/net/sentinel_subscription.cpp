#include "net/sentinel_subscription.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "base/io_error.hpp"
#include "net/detached_call.hpp"

namespace redlatch::detail {
namespace {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

/// How long a Sentinel that has refused the subscription is left alone.
constexpr std::chrono::minutes refusal_pause{1};
/// How often the Sentinel is sent a PING, and how much time it has to answer.
constexpr std::chrono::seconds ping_period{1};

/// The Sentinel that leads a failover publishes the first event some hundred milliseconds before
/// the Sentinels publish the second.
constexpr std::array<std::string_view, 2> failovers{"+promoted-slave", "+switch-master"};
/// Without these events, all Sentinels that a client knows could be replaced one by one while it
/// has no reason to ask.
constexpr std::array<std::string_view, 2> arrivals{"+sentinel", "+sentinel-address-switch"};

std::shared_ptr<Connection> subscribed(const Settings& settings, TimePoint deadline, int cancel) {
  auto connection = std::make_shared<Connection>(connect(settings, deadline, cancel));
  const auto command = [](std::string_view channel) {
    return Command(Expect::anything, "SUBSCRIBE", channel);
  };
  for (const std::string_view channel : failovers) {
    ask_sentinel(*connection, command(channel), deadline);
  }
  // A user may be allowed to hear of failovers alone.
  for (const std::string_view channel : arrivals) {
    ask(*connection->stream, *connection->transport, command(channel), deadline);
  }
  connection->transport->settle_down();
  return connection;
}

}  // namespace

Reply ask_sentinel(const Connection& connection, const Command& command, TimePoint deadline) {
  Reply reply = ask(*connection.stream, *connection.transport, command, deadline);
  if (!reply.is_error()) return reply;
  const Errc code = protocol::classify(reply.text);
  std::string text = protocol::explain(reply.text, protocol::Sender::sentinel);
  if (code != Errc::not_permitted) text += "; is this a Sentinel? (its usual port is 26379)";
  throw IoError(code, text);
}

void SentinelSubscription::open(AskingThreads& threads, std::shared_ptr<const Settings> settings,
                                TimePoint deadline, std::minstd_rand& random) {
  open_later(random);  // unless this works
  opening_ = threads.start<std::shared_ptr<Connection>>(
      [settings = std::move(settings), deadline](AskingThreads::Talk& /*talk*/, int cancel) {
        return subscribed(*settings, deadline, cancel);
      });
}

TimePoint SentinelSubscription::watch(std::vector<pollfd>& descriptors) const {
  if (!opening_ && !connection_) return TimePoint::max();
  const int fd = opening_ ? opening_->fd() : connection_->transport->fd();
  descriptors.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  return opening_ ? TimePoint::max() : ping_at_;
}

/// What has come is read before the Sentinel is found to be silent, so that a pause of this process
/// is not taken for its silence.
bool SentinelSubscription::attend(const Hear& hear, std::minstd_rand& random) {
  const bool is_opened = opening_ && opening_->is_finished() && end_opening(random);
  if (!connection_) return false;
  try {
    receive(hear);
    if (BootClock::now() >= ping_at_) ping();
  } catch (const std::exception&) {  // it is lost, or memory is
    close(random);
  }
  return is_opened;
}

bool SentinelSubscription::end_opening(std::minstd_rand& random) {
  const std::shared_ptr<Opening> ended = std::exchange(opening_, nullptr);
  try {
    connection_ = ended->result();
  } catch (const std::exception& error) {
    open_later(random);
    max_pause_ = std::min(2 * max_pause_, max_max_pause);
    const auto* const failure = dynamic_cast<const IoError*>(&error);
    const bool is_refused = failure != nullptr && !is_outage(failure->code());
    if (is_refused) open_at_ = BootClock::now() + refusal_pause;
    return false;
  }
  shown_at_ = BootClock::now();
  ping_at_ = shown_at_ + ping_period;
  is_pinged_ = is_silent_ = false;
  asked_at_.reset();
  max_pause_ = min_max_pause;
  return true;
}

/// Also the messages that have come in front of the end of the connection.
void SentinelSubscription::receive(const Hear& hear) {
  std::exception_ptr failure;
  try {
    // The end may be behind an answer to a PING.
    receive_into(*connection_->stream, *connection_->transport, Receive::bytes_and_end);
  } catch (const IoError&) {
    failure = std::current_exception();
  }
  while (const std::optional<Reply> message = connection_->stream->next_unasked()) {
    is_pinged_ = false;
    if (message->elements.size() != 3) {  // to a PING
      if (asked_at_) shown_at_ = *std::exchange(asked_at_, std::nullopt);
      continue;
    }
    const bool is_arrival =
        std::ranges::find(arrivals, message->elements[1].text) != arrivals.end();
    hear(is_arrival ? Event::arrival : Event::failover, message->elements[2].text);
  }
  if (failure) std::rethrow_exception(failure);
}

void SentinelSubscription::ping() {
  const TimePoint now = BootClock::now();
  ping_at_ = now + ping_period;
  is_silent_ = std::exchange(is_pinged_, true);
  if (is_silent_) throw IoError(Errc::timed_out, "no answer to a PING");
  if (!asked_at_) asked_at_ = now;
  connection_->stream->append(Command(Expect::anything, "PING"));
  send_available(*connection_->stream, *connection_->transport);
}

/// The thread that has connected may still have a reference to the connection.
void SentinelSubscription::close(std::minstd_rand& random) noexcept {
  *connection_ = {};
  connection_.reset();
  open_later(random);
}

void SentinelSubscription::open_later(std::minstd_rand& random) noexcept {
  using Distribution = std::uniform_int_distribution<std::int64_t>;
  const Distribution::param_type range(min_pause.count(), max_pause_.count());
  open_at_ = BootClock::now() + std::chrono::milliseconds(Distribution(range)(random));
}

void SentinelSubscription::end() noexcept {
  try {
    if (opening_ && opening_->wait(TimePoint::max(), never_cancelled)) *opening_->result() = {};
  } catch (const std::exception&) {
    // It has not subscribed.
  }
  if (connection_) *connection_ = {};
  opening_.reset();
  connection_.reset();
}

void SentinelSubscription::after_fork_in_child() noexcept {
  if (opening_) opening_->abandon();
  opening_.reset();
  if (connection_) connection_->transport->close();
  connection_.reset();
}

}  // namespace redlatch::detail
