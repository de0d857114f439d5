#include "engine/pending_release.hpp"

#include <algorithm>
#include <utility>

namespace redlatch::detail {

using protocol::Reply;
using protocol::Verdict;

namespace {

constexpr std::chrono::milliseconds first_pause{10};
constexpr std::chrono::milliseconds longest_pause{1000};

}  // namespace

void Release::begin(std::string_view key, const Undo& undo, TimePoint now) {
  key_ = key;
  command_ = undo.command;
  of_ = undo.of;
  since_ = undo.since;
  until_ = now + undo.ttl;
  due_ = now;
  pause_ = first_pause;
  repeated_ = false;
  converses_ = false;
  overtaken_ = false;
  settled_from_ = {};
  older_.reset();
  done_.reset();
  why_ = Errc::timed_out;
}

void Release::broke(Errc why, TimePoint now) noexcept {
  may_be_overtaken();
  const bool first = !std::exchange(repeated_, true);
  failed(why, now);
  if (first) due_ = now;
}

void Release::hand_on_to(Release& copy) {
  if (!done_) done_ = std::make_shared<std::atomic<bool>>(false);
  copy = *this;
  of_ = Undo::Of::told;
}

void Release::failed(Errc why, TimePoint now) noexcept {
  why_ = why;
  converses_ = false;
  due_ = now + pause_;
  pause_ = std::min(2 * pause_, longest_pause);
}

std::optional<Fate> Release::answered(const Reply& reply, std::chrono::milliseconds settling,
                                      TimePoint now) noexcept {
  // A key that is no lock any more is not ours either.
  if (reply.is_error() && protocol::classify(reply.text) != Errc::wrong_type) {
    repeated_ = true;
    failed(protocol::classify(reply.text), now);
    return std::nullopt;
  }
  const bool done_here = protocol::verdict(reply) == Verdict::yes;
  if (done_here && done_) *done_ = true;
  if (done_here || (done_ && *done_)) {
    if (of_ == Undo::Of::lease) return Fate::released;
    return of_ == Undo::Of::ended_lease ? Fate::lost : Fate::done;
  }
  if (!older_.expired()) {
    failed(why_, now);
    return std::nullopt;
  }
  if (std::exchange(overtaken_, false)) settled_from_ = now + settling;
  if (now < settled_from_) {
    due_ = settled_from_;
    return std::nullopt;
  }
  switch (of_) {
    case Undo::Of::doubt:
    case Undo::Of::told:
      return Fate::done;
    case Undo::Of::ended_lease:
      return Fate::lost;
    default:  // an attempt before this one may have done it
      return repeated_ ? Fate::unknown : Fate::lost;
  }
}

Fate Release::run_out() const noexcept {
  switch (of_) {
    case Undo::Of::doubt:
    case Undo::Of::told:
      return Fate::done;
    case Undo::Of::ended_lease:
      return Fate::lost;
    default:
      return Fate::unknown;
  }
}

}  // namespace redlatch::detail
