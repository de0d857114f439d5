#include "net/sentinel_topology.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/protocol/command.hpp>

#include "net/connection.hpp"
#include "net/mapped_address.hpp"
#include "net/poll.hpp"
#include "net/resolver.hpp"
#include "net/sentinel_subscription.hpp"
#include "net/tls_transport.hpp"

namespace redlatch::detail {
namespace {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

/// One descriptor, and one client of a Sentinel, each. Of more than fifteen Sentinels, eight are no
/// majority, so a failover might be agreed on without any of them.
constexpr std::ptrdiff_t max_subscriptions = 8;

/// How long an answer of the primary is trusted while no Sentinel is listened to.
constexpr std::chrono::seconds trust{1};
/// How long a Sentinel that is listened to is taken to be there behind a PING that it has answered.
constexpr std::chrono::seconds max_silence{2};
/// The pause before Sentinels that owe an answer are asked again, which doubles each time.
constexpr std::chrono::milliseconds min_repeat_pause{250};
constexpr std::chrono::milliseconds max_repeat_pause{16000};

std::shared_ptr<TlsContext> sentinel_tls(const Endpoint& endpoint, const ClientOptions& options) {
  if (!endpoint.tls) return nullptr;
  const bool is_set = options.sentinel.tls != TlsOptions{};
  return is_set ? make_tls_context(options.sentinel.tls, "", "sentinel.tls")
                : make_tls_context(options.tls, "");
}

/// For the worst failure of several, which is the error of all: configuration before outages.
int rank(Errc code) noexcept {
  if (code == Errc::invalid_argument) return 0;
  if (code == Errc::authentication_failed) return 1;
  return is_outage(code) ? 3 : 2;
}

/// `outcome`: of asking a Sentinel.
constexpr auto names_primary = [](const auto& outcome) { return outcome.names_primary(); };

/// Until one of those that are under way is over. Throws `Cancelled` when `cancel` gets readable.
template <class Calls>
void await_outcome(const Calls& calls, TimePoint until, int cancel) {
  std::vector<pollfd> watched{{.fd = cancel, .events = POLLIN, .revents = 0}};
  for (const auto& call : calls) {
    if (!call->is_finished()) {
      watched.push_back({.fd = call->fd(), .events = POLLIN, .revents = 0});
    }
  }
  poll_until(watched, until);
  if (watched.front().revents != 0) throw Cancelled();
}

}  // namespace

SentinelTopology::SentinelTopology(const Endpoint& endpoint, const ClientOptions& options,
                                   std::shared_ptr<TlsContext> tls)
    : service_(endpoint.service),
      options_(AskingThreads::options(options)),
      map_address_(options.map_address),
      sentinel_login_{.user = options.sentinel.user, .password = options.sentinel.password},
      tls_(std::move(tls)),
      sentinel_tls_(sentinel_tls(endpoint, options)),
      view_(endpoint.sentinels),
      random_(random_seed()) {
  trust_for(trust);
  end_trust();
}

SentinelTopology::~SentinelTopology() = default;

Destination SentinelTopology::locate(TimePoint deadline, int cancel) {
  std::shared_ptr<Resolver> primary;
  Destination destination;
  while (!primary) {
    await_end_of_doubt(deadline, cancel);
    Calls calls;
    bool is_known = false;
    {
      const MutexLock lock(mutex_);
      is_known = primary_ != nullptr;
      calls = ask_all();
    }
    const TimePoint now = BootClock::now();
    const auto share =
        std::min<TimePoint::duration>(AskingThreads::max_wait_for_newer, (deadline - now) / 4);
    AskingThreads::wait_for(calls, calls.size() / 2 + 1, names_primary,
                            is_known ? now + share : deadline, cancel);
    if (!is_primary_known()) {
      AskingThreads::wait_for_failures(calls, options_.connect_timeout, deadline, cancel);
    }
    const MutexLock lock(mutex_);
    if (is_in_doubt()) {
      if (BootClock::now() >= deadline) throw doubt();
      continue;
    }
    if (!primary_) throw failure_of(calls);
    primary = primary_;
    destination.version = version();
    destination.description = "the primary of " + service_ + " is " + written(*primary_address_) +
                              ", according to Sentinel";
  }
  Destination resolved = primary->locate(deadline, cancel);
  destination.addresses = std::move(resolved.addresses);
  destination.tls = std::move(resolved.tls);
  return destination;
}

bool SentinelTopology::is_primary_known() const {
  const MutexLock lock(mutex_);
  return primary_ != nullptr;
}

/// Whether a Sentinel has told that the primary was replaced, and it is not known yet by whom.
bool SentinelTopology::is_in_doubt() const {
  return std::ranges::any_of(sentinels_, &AskedSentinel::tells_failover);
}

void SentinelTopology::await_end_of_doubt(TimePoint deadline, int cancel) {
  for (;;) {
    Calls calls;
    {
      const MutexLock lock(mutex_);
      if (!is_in_doubt()) return;
      calls = ask_all();
    }
    const TimePoint now = BootClock::now();
    if (now >= deadline) return;
    await_outcome(calls, std::min(deadline, now + AskingThreads::fresh_for), cancel);
  }
}

IoError SentinelTopology::doubt() const {
  const auto one = std::ranges::find_if(sentinels_, &AskedSentinel::tells_failover);
  std::string text = "Sentinel " + written(one->address()) + " has told of a failover of " +
                     service_ + ", and has not answered yet what its primary is";
  if (const std::string why = one->why_unanswered(); !why.empty()) text += " (" + why + ")";
  return {Errc::unreachable, text};
}

void SentinelTopology::confirm(TimePoint since, TimePoint deadline, int cancel) {
  while (!is_confirmed(since)) {
    const TimePoint now = BootClock::now();
    if (now >= deadline) {
      const MutexLock lock(mutex_);
      const bool lacks_threads =
          threads_.are_short() &&
          std::ranges::any_of(sentinels_, [](const AskedSentinel& one) { return !one.asking(); });
      throw IoError(Errc::timed_out,
                    "no Sentinel has said in time whether the primary was replaced" +
                        (lacks_threads ? ": " + threads_.why_short("a Sentinel") : ""));
    }
    Calls calls;
    {
      const MutexLock lock(mutex_);
      calls = ask_all(since - AskingThreads::fresh_for);
    }
    await_outcome(calls, std::min(deadline, now + AskingThreads::fresh_for), cancel);
  }
}

/// Sentinels that have not answered the last time are not waited for.
bool SentinelTopology::is_confirmed(TimePoint since) {
  const MutexLock lock(mutex_);
  const TimePoint from = since - AskingThreads::fresh_for;
  const TimePoint now = BootClock::now();  // a stop from here on does not count as a wait
  const TimePoint counted_from = looks_.count_from(since);
  for (AskedSentinel& one : sentinels_) one.forget_failure(from, counted_from);
  ask_all(from);
  std::size_t answered = 0;
  bool is_any_awaited = false;
  for (const AskedSentinel& one : sentinels_) {
    if (one.was_asked_since(from) && one.has_answered()) ++answered;
    is_any_awaited |= one.is_awaited(from, counted_from, now, options_.connect_timeout);
  }
  if (answered > sentinels_.size() / 2 || !is_any_awaited) return true;
  return answered > 0 && now - counted_from >= AskingThreads::max_wait_to_confirm;
}

/// Has all Sentinels asked, but for those whose answer is new or under way; or, if that is given,
/// but for those that were asked since then.
SentinelTopology::Calls SentinelTopology::ask_all(std::optional<TimePoint> since) {
  Calls calls;
  follow_view();
  const TimePoint now = BootClock::now();
  for (AskedSentinel& one : sentinels_) {
    if (one.is_to_be_asked(since, now)) {
      one.forget_question();
      one.note_question(threads_.try_start<Outcome>(
          [self = shared_from_this(), address = one.address(), settings = one.settings()](
              AskingThreads::Talk& talk, int cancel) mutable {
            return self->ask(address, std::move(settings), talk, cancel);
          }));
    }
    if (one.asking()) calls.push_back({.address = one.address(), .asking = one.asking()});
  }
  return calls;
}

/// A Sentinel that is being subscribed to stays until that ends: its connection may use TLS. One
/// that has told of a failover stays until it is known what has come of that.
void SentinelTopology::follow_view() {
  const std::vector<Address> all = view_.sentinels();
  std::erase_if(sentinels_, [&](const AskedSentinel& one) {
    return !one.subscription().is_opening() && !one.tells_failover() &&
           std::ranges::find(all, one.address()) == all.end();
  });
  for (const Address& address : all) {
    if (std::ranges::find(sentinels_, address, &AskedSentinel::address) != sentinels_.end()) {
      continue;
    }
    sentinels_.emplace_back(
        address, AskingThreads::settings_for(address, sentinel_login_,
                                             {.only_login = true, .is_sentinel = true}, options_,
                                             sentinel_tls_));
  }
}

/// On a thread of its own. The view gets what comes of it, whether anything still waits for it or
/// not.
SentinelTopology::Outcome SentinelTopology::ask(const Address& address,
                                                std::shared_ptr<const Settings> settings,
                                                AskingThreads::Talk& talk, int cancel) {
  const TimePoint begun = BootClock::now();
  try {
    Outcome outcome =
        outcome_of(address, std::move(settings), begun + options_.connect_timeout, talk, cancel);
    const MutexLock lock(mutex_);
    take(address, outcome, begun);
    return outcome;
  } catch (const std::exception&) {
    // Memory is out. A part of the answer may have been taken in.
    const MutexLock lock(mutex_);
    ask_at_ = std::min(ask_at_, BootClock::now() + AskingThreads::fresh_for);
    return {};
  }
}

SentinelTopology::Outcome SentinelTopology::outcome_of(const Address& address,
                                                       std::shared_ptr<const Settings> settings,
                                                       TimePoint deadline,
                                                       AskingThreads::Talk& talk, int cancel) {
  Outcome outcome;
  try {
    SentinelAnswer answer = answer_of(*settings, deadline, cancel);
    if (map_address_) {
      settings.reset();  // it uses TLS
      talk.pause();
      note_mapping(address, 1);
      const Finally go_on([&] {
        talk.go_on();
        note_mapping(address, -1);
      });
      map(answer);
    }
    outcome.answer = std::move(answer);
  } catch (const IoError& error) {
    outcome.failure.emplace(error.code(), "Sentinel " + written(address) + ": " + error.what());
    outcome.was_short = AskingThreads::has_no_descriptor();
  } catch (const std::exception& error) {  // memory: the other Sentinels may have answered
    outcome.failure.emplace(Errc::unreachable,
                            "Sentinel " + written(address) + ": " + error.what());
  }
  return outcome;
}

void SentinelTopology::note_mapping(const Address& address, int change) {
  const MutexLock lock(mutex_);
  const auto one = std::ranges::find(sentinels_, address, &AskedSentinel::address);
  if (one != sentinels_.end()) one->note_mapping(change);
}

void SentinelTopology::take(const Address& address, const Outcome& outcome, TimePoint begun) {
  if (outcome.answer) {
    view_.take(address, *outcome.answer, begun, BootClock::now());
  } else {
    view_.note_failure(address, BootClock::now());
  }
  note_primary();
  if (!has_ended_) follow_view();  // Sentinels that are new are subscribed to
  const auto from = std::ranges::find(sentinels_, address, &AskedSentinel::address);
  const bool was_stopped =
      outcome.failure && AskingThreads::was_stopped(begun, options_.connect_timeout);
  if (from != sentinels_.end() && !was_stopped && !outcome.was_short) {
    if (outcome.names_primary()) {
      from->note_answer(begun);
    } else {
      from->note_failure(begun, failure_of(address, outcome).what());
    }
  }
  for (AskedSentinel& one : sentinels_) {
    if (one.tells_failover() && is_settled(one)) one.forget_failover();
  }
  note_trust();
}

/// Whether it is known what has come of the failover that a Sentinel has told of. If the Sentinel
/// cannot be asked any more, the word of another one counts that must have heard of the failover.
bool SentinelTopology::is_settled(const AskedSentinel& one) const {
  if (one.has_shown(view_.told_primary())) return true;
  const TimePoint all_know = one.all_know_at();
  return one.has_failed_since(all_know) &&
         std::ranges::any_of(sentinels_, [&](const AskedSentinel& other) {
           return other.has_named_since(all_know);
         });
}

/// Without a Sentinel that tells of a failover, the primary is believed behind answers only. A
/// subscription that is open may be dead: this process may have been stopped. One that has broken
/// may have ended in front of a failover of which the others have not heard; after a while, all
/// have.
void SentinelTopology::note_trust() {
  const TimePoint now = BootClock::now();
  TimePoint until{};
  for (const AskedSentinel& one : sentinels_) {
    if (one.may_hide_failover(now)) return trust_until({});
    if (one.is_listened_to()) until = std::max(until, one.subscription().shown_at() + max_silence);
  }
  trust_until(until);
}

/// The epoch is asked for before the primary. If a failover comes between the two, the new primary
/// is taken for one of the older configuration, which is corrected by the next answer. The other
/// way round, the former primary would be believed until the next failover.
SentinelAnswer SentinelTopology::answer_of(const Settings& settings, TimePoint deadline,
                                           int cancel) const {
  const Connection connection = connect(settings, deadline, cancel);
  const auto question = [&](const char* what) {
    return Command(Expect::anything, "SENTINEL", what, service_);
  };
  SentinelAnswer answer;
  const Reply primary = ask_sentinel(connection, question("GET-MASTER-ADDR-BY-NAME"), deadline);
  if (!read_primary(primary)) {
    const Command all(Expect::anything, "SENTINEL", "MASTERS");
    answer.services = read_services(ask_sentinel(connection, all, deadline));
    return answer;
  }
  answer.epoch = read_epoch(ask_sentinel(connection, question("MASTER"), deadline));
  answer.primary =
      read_primary(ask_sentinel(connection, question("GET-MASTER-ADDR-BY-NAME"), deadline));
  answer.told = answer.primary;
  answer.others = read_sentinels(ask_sentinel(connection, question("SENTINELS"), deadline));
  return answer;
}

void SentinelTopology::map(SentinelAnswer& answer) const {
  if (answer.primary) answer.primary = mapped_by(map_address_, *answer.primary);
  // A Sentinel that cannot be translated, perhaps an old one, must not hide the primary.
  std::erase_if(answer.others, [this](Address& one) {
    try {
      one = mapped_by(map_address_, one);
      return false;
    } catch (const IoError&) {
      return true;
    }
  });
}

/// Why one Sentinel has not named a primary.
IoError SentinelTopology::failure_of(const Call& call) const {
  if (!call->is_finished()) {
    return {Errc::unreachable, "Sentinel " + call.complaint(map_address_ != nullptr)};
  }
  return failure_of(call.address, call->result());
}

IoError SentinelTopology::failure_of(const Address& address, const Outcome& outcome) const {
  if (outcome.failure) return *outcome.failure;
  if (!outcome.answer) {
    return {Errc::unreachable, "Sentinel " + written(address) + ": out of memory"};
  }
  std::string text = "it does not know the service " + service_ + "; it knows:";
  for (const std::string& one : outcome.answer->services) text += " " + one;
  return {Errc::invalid_argument, text};
}

/// Why no Sentinel has named a primary.
IoError SentinelTopology::failure_of(const Calls& calls) const {
  if (calls.empty()) return {Errc::unreachable, threads_.why_short("a Sentinel")};
  Errc code = Errc::unreachable;
  std::string why;
  std::size_t named = 0;
  for (const auto& call : calls) {
    const IoError its = failure_of(call);
    const std::string text = its.what();
    if (named == 0 || rank(its.code()) < rank(code)) code = its.code();
    if (why.find(text) != std::string::npos) continue;  // several say the same
    if (named++ < AskingThreads::max_named) why += (why.empty() ? "" : "; ") + text;
  }
  return {code, "no Sentinel names the primary of " + service_ + ": " + why};
}

/// Follows the view when that has another primary.
void SentinelTopology::note_primary() {
  if (has_ended_ || view_.primary() == primary_address_) return;
  const Address& address = *view_.primary();
  Endpoint endpoint;
  endpoint.host = address.host;
  endpoint.port = address.port;
  primary_ = std::make_shared<Resolver>(endpoint, tls_for_host(tls_, address.host));
  primary_address_ = address;
  note_change();
}

void SentinelTopology::prefer(const SocketAddress& address) noexcept {
  const MutexLock lock(mutex_);
  if (primary_) primary_->prefer(address);
}

void SentinelTopology::avoid(const SocketAddress& address) noexcept {
  const MutexLock lock(mutex_);
  if (primary_) primary_->avoid(address);
}

TimePoint SentinelTopology::watch(std::vector<pollfd>& descriptors) {
  const MutexLock lock(mutex_);
  const auto add = [&](int fd) {
    descriptors.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  };
  const bool may_open = may_subscribe();
  TimePoint end = std::min(ask_at_, repeat_at_);
  for (const AskedSentinel& one : sentinels_) {
    if (one.is_asked()) add(one.asking()->fd());
    end = std::min(end, one.subscription().watch(descriptors));
    if (may_open && one.may_be_subscribed_to()) end = std::min(end, one.subscription().open_at());
  }
  return end;
}

void SentinelTopology::attend() noexcept {
  using Event = SentinelSubscription::Event;
  try {
    const MutexLock lock(mutex_);
    looks_.look();
    for (AskedSentinel& one : sentinels_) {
      const auto hear = [&](Event event, std::string_view message) REDLATCH_REQUIRES(mutex_) {
        if (!is_about(service_, message)) return;
        event == Event::failover ? hear_of_failover(one, message) : ask_soon(one, BootClock::now());
      };
      const bool was_open = one.subscription().is_open();
      const bool is_opened = one.subscription().attend(hear, random_);
      const bool is_broken = was_open && !one.subscription().is_open();
      const TimePoint now = BootClock::now();
      if (is_opened || is_broken) ask_soon(one, now);
      if (is_broken) one.note_break(now);
    }
    note_trust();
    if (sentinels_.empty()) ask_all();
    ask_when_due();
    subscribe();
  } catch (const std::exception&) {
    // No memory, thread or descriptor is left: the next connection asks anew.
  }
}

bool SentinelTopology::may_subscribe() const {
  return std::ranges::count_if(sentinels_, [](const AskedSentinel& one) {
           return one.subscription().is_open() || one.subscription().is_opening();
         }) < max_subscriptions;
}

/// At those that have answered first: others may have hung, or not exist any more.
void SentinelTopology::subscribe() {
  const auto is_due = [](const AskedSentinel& one) {
    return one.may_be_subscribed_to() && BootClock::now() >= one.subscription().open_at();
  };
  if (!may_subscribe() || std::ranges::none_of(sentinels_, is_due)) return;
  follow_view();  // an attempt may have ended at one that has left it
  for (const bool has_answered : {true, false}) {
    for (AskedSentinel& one : sentinels_) {
      if (!may_subscribe()) return;
      if (one.has_answered() != has_answered || !is_due(one)) continue;
      one.subscription().open(threads_, one.settings(), BootClock::now() + options_.connect_timeout,
                              random_);
    }
  }
}

/// Every connection is obsolete until Sentinels have been asked anew, unless all lead to the
/// primary that the message names: each Sentinel tells of a failover, one after the other. The
/// later ones of messages that follow each other only have the Sentinel asked once more: a Sentinel
/// that repeats itself must not have all connections opened again and again.
void SentinelTopology::hear_of_failover(AskedSentinel& from, std::string_view message) {
  const TimePoint now = BootClock::now();
  std::optional<Address> promoted = read_promoted(message);
  if (from.tells_failover_to(promoted)) return;
  const bool is_known = promoted && promoted == view_.told_primary();
  ask_soon(from, now);
  if (is_known || now < heard_at_ + AskingThreads::fresh_for) return;
  if (!is_in_doubt()) note_change();
  from.note_failover(std::move(promoted));
  heard_at_ = ask_at_ = now;
}

/// Several messages may arrive at once.
void SentinelTopology::ask_soon(AskedSentinel& about, TimePoint now) {
  about.owe_answer(now);
  ask_at_ = std::min(ask_at_, now + AskingThreads::fresh_for);
}

void SentinelTopology::ask_when_due() {
  const TimePoint now = BootClock::now();
  if (std::ranges::none_of(sentinels_, &AskedSentinel::is_to_be_asked_again)) {
    repeat_at_ = TimePoint::max();
    repeat_pause_ = min_repeat_pause;
  } else if (repeat_at_ == TimePoint::max()) {
    repeat_at_ = now + repeat_pause_;
  }
  if (now < std::min(ask_at_, repeat_at_)) return;
  if (now >= repeat_at_) {
    repeat_at_ = now + repeat_pause_;
    repeat_pause_ = std::min<TimePoint::duration>(2 * repeat_pause_, max_repeat_pause);
  }
  ask_at_ = TimePoint::max();
  ask_all();
}

/// A thread that is in `map_address`, which may take for ever, is not waited for: what uses TLS is
/// taken away from it.
void SentinelTopology::end() noexcept {
  {
    const MutexLock lock(mutex_);
    has_ended_ = true;
    threads_.cancel();
  }
  threads_.wait_for_all();
  const MutexLock lock(mutex_);
  for (AskedSentinel& one : sentinels_) one.subscription().end();
  sentinels_.clear();
  primary_.reset();
  tls_.reset();
  sentinel_tls_.reset();
}

void SentinelTopology::before_fork() {
  mutex_.lock();
  if (primary_) primary_->before_fork();
  for (const AskedSentinel& one : sentinels_) one.before_fork();
}

void SentinelTopology::after_fork_in_parent() {
  for (const AskedSentinel& one : sentinels_) one.after_fork_in_parent();
  if (primary_) primary_->after_fork_in_parent();
  mutex_.unlock();
}

void SentinelTopology::after_fork_in_child() noexcept {
  for (AskedSentinel& one : sentinels_) one.after_fork_in_child();
  trust_until({});  // in the child, no Sentinel is listened to
  end_trust();
  if (primary_) primary_->after_fork_in_child();
  threads_.after_fork_in_child();
  random_.seed(static_cast<std::uint32_t>(random_()) ^ static_cast<std::uint32_t>(::getpid()));
  mutex_.unlock();
}

}  // namespace redlatch::detail
