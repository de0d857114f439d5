#include "background/background.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "base/io_error.hpp"
#include "net/poll.hpp"
#include "base/quiet_thread.hpp"

namespace redlatch::detail {

namespace {

std::optional<EventKind> event_of(Fate fate) noexcept {
  switch (fate) {
    case Fate::released:
      return EventKind::released;
    case Fate::lost:
      return EventKind::lost;
    case Fate::unknown:
      return EventKind::release_unknown;
    default:
      return std::nullopt;
  }
}

std::error_code error_of(const Release& release, Fate fate) noexcept {
  return fate == Fate::unknown ? make_error_code(release.why()) : std::error_code();
}

}  // namespace

void Background::stop() noexcept {
  const Guard guard(mutex_);
  if (std::exchange(stopping_, true)) return;
  stop_at_ = BootClock::now() + settings_.options.command_timeout;
  interrupt_.signal();
  wake_up_.signal();
}

Background::~Background() {
  stop();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    run();
  }
  notifier_.finish();
}

void Background::serve(std::vector<Channel*> channels, ChannelOf channel_of, Watched& watched) {
  channels_ = std::move(channels);
  watched_ = &watched;
  renewing_.reserve(channels_.size());
  channel_of_ = std::move(channel_of);
}

void Background::add(std::string_view key, const Undo& undo) noexcept {
  try {
    open(release_of(key, undo, *settings_.routes));
  } catch (const std::bad_alloc&) {
    // Nothing can be remembered without memory: the ttl does the rest.
  }
}

void Background::connect(Channel& channel) noexcept {
  const Guard guard(mutex_);
  if (std::find(to_connect_.begin(), to_connect_.end(), &channel) != to_connect_.end()) return;
  try {
    to_connect_.push_back(&channel);
  } catch (const std::bad_alloc&) {
    return;  // the next call tries again
  }
  wake();
}

void Background::say(std::string_view key, const Undo& undo) noexcept {
  try {
    converse(release_of(key, undo, *settings_.routes), Connecting::never, TimePoint::max());
  } catch (const std::bad_alloc&) {
    // As above.
  }
}

void Background::open(Exchanges releases) noexcept {
  const Guard guard(mutex_);
  open_.splice(open_.end(), releases);
  wake();
}

void Background::adopt(Pipeline pipeline) noexcept {
  const Guard guard(mutex_);
  open_.splice(open_.end(), retired_.adopt(std::move(pipeline)));
  wake();
}

void Background::ended(const Release& release, Fate fate) noexcept {
  const std::optional<EventKind> kind = event_of(fate);
  if (kind) happened(*kind, release.key(), release.since(), error_of(release, fate));
}

void Background::happened(EventKind kind, std::string_view key, TimePoint since,
                          std::error_code error) noexcept {
  notifier_.happened(kind, key, since, error);
}

Metrics Background::metrics() const {
  Metrics metrics = notifier_.metrics();
  metrics.held = renewer_.held();
  return metrics;
}

void Background::expect_answers() noexcept {
  if (expecting_.load(std::memory_order_relaxed) || expecting_.exchange(true)) return;
  const Guard guard(mutex_);
  look_at_ = BootClock::now() + look_after;
  wake();
}

void Background::server_changed() noexcept {
  const Guard guard(mutex_);
  server_changed_ = true;
  wake();
}

void Background::wake() noexcept {
  start();
  wake_up_.signal();
}

void Background::start() noexcept {
  if (thread_.joinable() || stopping_) return;
  wants_thread_ = true;
  try {
    wake_up_.open();
    interrupt_.open();
    thread_ = quiet_thread([this] { run(); });
    wants_thread_ = false;
  } catch (const std::exception&) {
    // No thread or descriptor is left: the next command tries again, and so does the destructor.
  }
}

void Background::require_thread() {
  if (runs_) return;
  const Guard guard(mutex_);
  start();
  if (thread_.joinable() && notifier_.ensure_started()) {
    runs_ = true;
    return;
  }
  throw Error(Errc::unreachable, "no thread can be started to look after locks; allow more",
              settings_.server);
}

void Background::keep(Tenure& tenure) noexcept {
  if (!renewer_.keep(tenure)) return;
  const Guard guard(mutex_);
  wake();
  interrupt_.signal();
}

bool Background::hand_over(Tenure& tenure, const Upkeep& upkeep) noexcept {
  const Renewer::HandedOver handed_over = renewer_.hand_over(tenure, upkeep);
  if (handed_over == Renewer::HandedOver::yes_and_sooner) {
    const Guard guard(mutex_);
    wake();
  }
  return handed_over != Renewer::HandedOver::no;
}

void Background::renewed(const Renewal& renewal, const protocol::Reply& reply,
                         TimePoint sent) noexcept {
  const Renewer::Answered answered = renewer_.answered(renewal, reply, sent, BootClock::now());
  if (answered != Renewer::Answered::counted || protocol::ours(reply) == protocol::Verdict::no) {
    return;
  }
  const bool good = !reply.is_error();
  happened(good ? EventKind::renewed : EventKind::renewal_failed, renewal.key(), renewal.since,
           good ? std::error_code() : make_error_code(protocol::classify(reply.text)));
}

void Background::renewal_failed(const Renewal& renewal, TimePoint sent,
                                std::error_code why) noexcept {
  const Sent asked{sent, renewal.connection};
  if (!renewer_.failed(*renewal.tenure, renewal.ttl, asked, BootClock::now())) return;
  happened(EventKind::renewal_failed, renewal.key(), renewal.since, why);
}

bool Background::wants(const Renewal& renewal) noexcept {
  return renewer_.is_wanted(*renewal.tenure);
}

void Background::retry_start() noexcept {
  const Guard guard(mutex_);
  start();
}

void Background::after_fork_in_child() noexcept {
  retired_.abandon();
  open_.clear();
  std::construct_at(&thread_);
  runs_ = false;
  wants_thread_ = false;
  expecting_ = false;
  to_connect_.clear();
  look_at_ = TimePoint::max();
  server_changed_ = false;
  wake_up_.close();
  interrupt_.close();
  renewer_.after_fork_in_child();
  notifier_.after_fork_in_child();
  mutex_.unlock();
}

}  // namespace redlatch::detail
