#include "net/sentinel_topology.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/protocol/command.hpp>

#include "net/connection.hpp"
#include "net/detached_call.hpp"
#include "net/mapped_address.hpp"
#include "net/poll.hpp"
#include "net/resolver.hpp"
#include "net/tls_transport.hpp"

namespace redlatch::detail {
namespace {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

/// One descriptor, and one client of a Sentinel, each. Of more than fifteen Sentinels, eight are no
/// majority, so a failover might be agreed on without any of them.
constexpr std::ptrdiff_t max_subscriptions = 8;

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
      random_(random_seed()) {}

SentinelTopology::~SentinelTopology() = default;

Destination SentinelTopology::locate(TimePoint deadline, int cancel) {
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
  const auto names_primary = [](const Outcome& one) { return one.answer && one.answer->primary; };
  AskingThreads::wait_for(calls, calls.size() / 2 + 1, names_primary,
                          is_known ? now + share : deadline, cancel);
  if (!is_primary_known()) {
    AskingThreads::wait_for_failures(calls, options_.connect_timeout, deadline, cancel);
  }
  std::shared_ptr<Resolver> primary;
  Destination destination;
  {
    const MutexLock lock(mutex_);
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

/// Has all Sentinels asked, but for those whose answer is new or under way.
SentinelTopology::Calls SentinelTopology::ask_all() {
  Calls calls;
  follow_view();
  const TimePoint now = BootClock::now();
  for (Sentinel& one : sentinels_) {
    const bool is_new =
        one.is_asked() || (one.asking && now - one.asking->begun() < AskingThreads::fresh_for);
    if (!is_new) {
      one.asking.reset();
      try {
        one.asking = threads_.start<Outcome>(
            [self = shared_from_this(), address = one.address, settings = one.settings](
                AskingThreads::Talk& talk, int cancel) mutable {
              return self->ask(address, std::move(settings), talk, cancel);
            });
      } catch (const std::system_error& error) {
        not_asked_ = error.code();
        continue;  // no thread or descriptor is left
      }
    }
    calls.push_back({.address = one.address, .asking = one.asking});
  }
  return calls;
}

/// A Sentinel that is being subscribed to stays until that ends: its connection may use TLS.
void SentinelTopology::follow_view() {
  const std::vector<Address> all = view_.sentinels();
  std::erase_if(sentinels_, [&](const Sentinel& one) {
    return !one.subscription.is_opening() && std::ranges::find(all, one.address) == all.end();
  });
  for (const Address& address : all) {
    if (std::ranges::find(sentinels_, address, &Sentinel::address) != sentinels_.end()) continue;
    sentinels_.emplace_back(
        Sentinel{.address = address,
                 .settings = AskingThreads::settings_for(address, sentinel_login_,
                                                         {.only_login = true, .is_sentinel = true},
                                                         options_, sentinel_tls_)});
  }
}

/// On a thread of its own. The view gets what comes of it, whether anything still waits for it or
/// not.
SentinelTopology::Outcome SentinelTopology::ask(const Address& address,
                                                std::shared_ptr<const Settings> settings,
                                                AskingThreads::Talk& talk, int cancel) {
  Outcome outcome;
  const TimePoint begun = BootClock::now();
  try {
    SentinelAnswer answer = answer_of(*settings, begun + options_.connect_timeout, cancel);
    if (map_address_) {
      settings.reset();  // it uses TLS
      talk.pause();
      const Finally go_on([&] { talk.go_on(); });
      map(answer);
    }
    outcome.answer = std::move(answer);
  } catch (const IoError& error) {
    outcome.failure.emplace(error.code(), "Sentinel " + written(address) + ": " + error.what());
  } catch (const std::exception& error) {  // memory: the other Sentinels may have answered
    outcome.failure.emplace(Errc::unreachable,
                            "Sentinel " + written(address) + ": " + error.what());
  }
  const MutexLock lock(mutex_);
  if (outcome.answer) {
    view_.take(address, *outcome.answer, begun, BootClock::now());
  } else {
    view_.note_failure(address, BootClock::now());
  }
  note_primary();
  if (!has_ended_) follow_view();  // Sentinels that are new are subscribed to
  return outcome;
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
  const Outcome& outcome = call->result();
  if (outcome.failure) return *outcome.failure;
  std::string text = "it does not know the service " + service_ + "; it knows:";
  for (const std::string& one : outcome.answer->services) text += " " + one;
  return {Errc::invalid_argument, text};
}

/// Why no Sentinel has named a primary.
IoError SentinelTopology::failure_of(const Calls& calls) const {
  if (calls.empty()) {
    return {Errc::unreachable,
            "no thread can be started to ask a Sentinel (" + not_asked_.message() + ")"};
  }
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
  TimePoint end = ask_at_;
  for (const Sentinel& one : sentinels_) {
    if (one.is_asked()) add(one.asking->fd());
    end = std::min(end, one.subscription.watch(descriptors));
    if (may_open && one.may_be_subscribed_to()) end = std::min(end, one.subscription.open_at());
  }
  return end;
}

void SentinelTopology::attend() noexcept {
  using Event = SentinelSubscription::Event;
  try {
    const MutexLock lock(mutex_);
    const auto hear = [this](Event event, std::string_view message) REDLATCH_REQUIRES(mutex_) {
      if (!is_about(service_, message)) return;
      event == Event::failover ? hear_of_failover(message) : ask_soon();
    };
    for (Sentinel& one : sentinels_) {
      if (one.subscription.attend(hear, random_)) ask_soon();
    }
    if (sentinels_.empty()) ask_all();
    if (BootClock::now() >= ask_at_) ask_anew();
    subscribe();
  } catch (const std::exception&) {
    // No memory, thread or descriptor is left: the next connection asks anew.
  }
}

bool SentinelTopology::may_subscribe() const {
  return std::ranges::count_if(sentinels_, [](const Sentinel& one) {
           return one.subscription.is_open() || one.subscription.is_opening();
         }) < max_subscriptions;
}

/// At those that have answered first: others may have hung, or not exist any more.
void SentinelTopology::subscribe() {
  const auto is_due = [](const Sentinel& one) {
    return one.may_be_subscribed_to() && BootClock::now() >= one.subscription.open_at();
  };
  if (!may_subscribe() || std::ranges::none_of(sentinels_, is_due)) return;
  follow_view();  // an attempt may have ended at one that has left it
  for (const bool has_answered : {true, false}) {
    for (Sentinel& one : sentinels_) {
      if (!may_subscribe()) return;
      if (one.has_answered() != has_answered || !is_due(one)) continue;
      one.subscription.open(threads_, one.settings, BootClock::now() + options_.connect_timeout,
                            random_);
    }
  }
}

/// Every connection is obsolete until Sentinels have been asked anew, unless all lead to the
/// primary that the message names: each Sentinel tells of a failover, one after the other. The
/// later ones of messages that follow each other only have the Sentinels asked once more: a
/// Sentinel that repeats itself must not have all connections opened again and again.
void SentinelTopology::hear_of_failover(std::string_view message) {
  const TimePoint now = BootClock::now();
  const std::optional<Address> promoted = read_promoted(message);
  const bool is_known = promoted && promoted == view_.told_primary();
  if (is_known || now < heard_at_ + AskingThreads::fresh_for) return ask_soon();
  heard_at_ = ask_at_ = now;
  note_change();
}

/// Several messages may arrive at once.
void SentinelTopology::ask_soon() {
  ask_at_ = std::min(ask_at_, BootClock::now() + AskingThreads::fresh_for);
}

void SentinelTopology::ask_anew() {
  ask_at_ = TimePoint::max();
  for (Sentinel& one : sentinels_) one.asking.reset();
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
  for (Sentinel& one : sentinels_) one.subscription.end();
  sentinels_.clear();
  primary_.reset();
  tls_.reset();
  sentinel_tls_.reset();
}

void SentinelTopology::before_fork() {
  mutex_.lock();
  if (primary_) primary_->before_fork();
  for (const Sentinel& one : sentinels_) one.settings->topology->before_fork();
}

void SentinelTopology::after_fork_in_parent() {
  for (const Sentinel& one : sentinels_) one.settings->topology->after_fork_in_parent();
  if (primary_) primary_->after_fork_in_parent();
  mutex_.unlock();
}

void SentinelTopology::after_fork_in_child() noexcept {
  for (Sentinel& one : sentinels_) {
    one.settings->topology->after_fork_in_child();
    if (one.asking) one.asking->abandon();
    one.asking.reset();
    one.subscription.after_fork_in_child();
  }
  if (primary_) primary_->after_fork_in_child();
  threads_.after_fork_in_child();
  random_.seed(static_cast<std::uint32_t>(random_()) ^ static_cast<std::uint32_t>(::getpid()));
  mutex_.unlock();
}

}  // namespace redlatch::detail
