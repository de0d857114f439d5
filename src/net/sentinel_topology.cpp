#include "net/sentinel_topology.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/protocol/command.hpp>

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

/// The pause before the next attempt to subscribe, with jitter.
constexpr std::chrono::milliseconds min_subscribe_pause{50};
constexpr std::chrono::milliseconds max_subscribe_pause{1000};
/// How long a Sentinel that has refused it is left alone.
constexpr std::chrono::minutes refusal_pause{1};
/// How often the Sentinel is sent a PING on the subscription, and how much time it has to answer.
constexpr std::chrono::seconds ping_period{1};

/// The events that a replica was promoted, which the Sentinel that leads a failover publishes some
/// hundred milliseconds earlier, and that a Sentinel knows the new primary.
constexpr std::array<std::string_view, 2> failovers{"+promoted-slave", "+switch-master"};
/// The events that there is another Sentinel, or that one has another address. Without these, all
/// Sentinels that a client knows could be replaced one by one while it has no reason to ask.
constexpr std::array<std::string_view, 2> arrivals{"+sentinel", "+sentinel-address-switch"};

std::shared_ptr<TlsContext> sentinel_tls(const Endpoint& endpoint, const ClientOptions& options) {
  if (!endpoint.tls) return nullptr;
  const bool is_set = options.sentinel.tls != TlsOptions{};
  return is_set ? make_tls_context(options.sentinel.tls, "", "sentinel.tls")
                : make_tls_context(options.tls, "");
}

Reply say(const Connection& connection, const Command& command, TimePoint deadline) {
  Reply reply = ask(*connection.stream, *connection.transport, command, deadline);
  if (!reply.is_error()) return reply;
  const Errc code = protocol::classify(reply.text);
  std::string text = protocol::explain(reply.text, protocol::Sender::sentinel);
  if (code != Errc::not_permitted) text += "; is this a Sentinel? (its usual port is 26379)";
  throw IoError(code, text);
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
    is_in_use_ = true;
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
    destination.description =
        "the primary of " + service_ + " is " + written(*primary_address_) + ", says Sentinel";
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
  const std::vector<Address> all = view_.sentinels();
  std::erase_if(sentinels_, [&](const Sentinel& one) {
    return std::find(all.begin(), all.end(), one.address) == all.end();
  });
  const TimePoint now = BootClock::now();
  for (const Address& address : all) {
    Sentinel& one = sentinel_at(address);
    const bool is_new = one.asking && (!one.asking->is_finished() ||
                                       now - one.asking->begun() < AskingThreads::fresh_for);
    if (!is_new) {
      one.asking.reset();
      try {
        one.asking =
            threads_.start<Outcome>([self = shared_from_this(), address, settings = one.settings](
                                        AskingThreads::Talk& talk, int cancel) mutable {
              return self->ask(address, std::move(settings), talk, cancel);
            });
      } catch (const std::system_error& error) {
        not_asked_ = error.code();
        continue;  // no thread or descriptor is left
      }
    }
    calls.push_back({.address = address, .asking = one.asking});
  }
  return calls;
}

SentinelTopology::Sentinel& SentinelTopology::sentinel_at(const Address& address) {
  const auto at = std::find_if(sentinels_.begin(), sentinels_.end(),
                               [&](const Sentinel& one) { return one.address == address; });
  if (at != sentinels_.end()) return *at;
  return sentinels_.emplace_back(
      Sentinel{.address = address,
               .settings = AskingThreads::settings_for(address, sentinel_login_,
                                                       {.only_login = true, .is_sentinel = true},
                                                       options_, sentinel_tls_)});
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
  const Reply primary = say(connection, question("GET-MASTER-ADDR-BY-NAME"), deadline);
  if (!read_primary(primary)) {
    const Command all(Expect::anything, "SENTINEL", "MASTERS");
    answer.services = read_services(say(connection, all, deadline));
    return answer;
  }
  answer.epoch = read_epoch(say(connection, question("MASTER"), deadline));
  answer.primary = read_primary(say(connection, question("GET-MASTER-ADDR-BY-NAME"), deadline));
  answer.others = read_sentinels(say(connection, question("SENTINELS"), deadline));
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
  for (const Sentinel& one : sentinels_) {
    if (one.asking && !one.asking->is_finished()) add(one.asking->fd());
  }
  if (subscribing_) add(subscribing_->fd());
  if (subscription_) add(subscription_->transport->fd());
  if (subscription_) return std::min(ping_at_, ask_at_);
  return !is_in_use_ || subscribing_ ? ask_at_ : std::min(subscribe_at_, ask_at_);
}

void SentinelTopology::attend() noexcept {
  try {
    const MutexLock lock(mutex_);
    if (subscribing_ && subscribing_->is_finished()) end_subscribing();
    if (subscription_) receive_messages();
    if (subscription_ && BootClock::now() >= ping_at_) ping();
    if (BootClock::now() >= ask_at_) ask_anew();
    if (is_in_use_ && !subscribing_ && !subscription_ && BootClock::now() >= subscribe_at_) {
      subscribe();
    }
  } catch (const std::exception&) {
    // No memory, thread or descriptor is left: the next connection asks anew.
  }
}

/// By turns; null when all have refused, or those that are being asked have to be waited for.
SentinelTopology::Sentinel* SentinelTopology::next_to_subscribe() {
  const std::vector<Address> all = view_.sentinels();
  for (const bool any : {false, true}) {
    if (any && is_asking()) return nullptr;
    for (std::size_t i = 0; i < all.size(); ++i) {
      Sentinel& one = sentinel_at(all[(subscribed_ + i) % all.size()]);
      if (BootClock::now() < one.refused_until || (!any && !one.has_answered())) continue;
      subscribed_ += i + 1;
      return &one;
    }
  }
  return nullptr;
}

bool SentinelTopology::is_asking() const {
  return std::ranges::any_of(
      sentinels_, [](const Sentinel& one) { return one.asking && !one.asking->is_finished(); });
}

void SentinelTopology::subscribe() {
  subscribe_later();  // unless this works
  const Sentinel* const one = next_to_subscribe();
  if (one == nullptr) {
    if (is_asking()) subscribe_at_ = BootClock::now() + min_subscribe_pause;
    return;
  }
  subscribing_to_ = one->address;
  const TimePoint deadline = BootClock::now() + options_.connect_timeout;
  using Subscribed = std::shared_ptr<Connection>;
  subscribing_ = threads_.start<Subscribed>(
      [settings = one->settings, deadline](AskingThreads::Talk& /*talk*/, int cancel) {
        auto connection = std::make_shared<Connection>(connect(*settings, deadline, cancel));
        const auto command = [](std::string_view channel) {
          return Command(Expect::anything, "SUBSCRIBE", channel);
        };
        for (const std::string_view channel : failovers) {
          say(*connection, command(channel), deadline);
        }
        // A user may be allowed to hear of failovers alone.
        for (const std::string_view channel : arrivals) {
          detail::ask(*connection->stream, *connection->transport, command(channel), deadline);
        }
        connection->transport->settle_down();
        return connection;
      });
}

void SentinelTopology::end_subscribing() {
  const std::shared_ptr<Subscribing> ended = std::exchange(subscribing_, nullptr);
  try {
    subscription_ = ended->result();
  } catch (const IoError& error) {
    if (is_outage(error.code())) return subscribe_later();
    sentinel_at(subscribing_to_).refused_until = BootClock::now() + refusal_pause;
    subscribe_at_ = BootClock::now();
    return;
  } catch (const std::exception&) {
    return subscribe_later();
  }
  ping_at_ = BootClock::now() + ping_period;
  is_pinged_ = false;
  ask_all();  // what happened before the subscription was not heard
}

/// A Sentinel that has hung, perhaps with the host that it shares with the primary, tells nothing:
/// another one has to. What has come was read before, so that a pause of this process is not taken
/// for the Sentinel's silence.
void SentinelTopology::ping() {
  ping_at_ = BootClock::now() + ping_period;
  try {
    if (std::exchange(is_pinged_, true)) {
      subscription_.reset();
      subscribe_at_ = BootClock::now();
      return;
    }
    subscription_->stream->append(Command(Expect::anything, "PING"));
    send_available(*subscription_->stream, *subscription_->transport);
  } catch (const IoError&) {
    end_subscription();
  }
}

void SentinelTopology::end_subscription() {
  subscription_.reset();
  subscribe_later();
}

void SentinelTopology::receive_messages() {
  bool switched = false;
  bool arrived = false;
  try {
    receive_into(*subscription_->stream, *subscription_->transport);
    while (const std::optional<Reply> message = subscription_->stream->next_unasked()) {
      is_pinged_ = false;
      if (message->elements.size() != 3 || !is_about(service_, message->elements[2].text)) continue;
      const bool is_arrival =
          std::ranges::find(arrivals, message->elements[1].text) != arrivals.end();
      (is_arrival ? arrived : switched) = true;
    }
  } catch (const std::exception&) {  // it is lost, or memory is
    end_subscription();
  }
  // Several may arrive at once.
  if (arrived) ask_at_ = std::min(ask_at_, BootClock::now() + AskingThreads::fresh_for);
  if (switched) hear_of_failover();
}

/// Every connection is obsolete until Sentinels have been asked anew. Of messages that follow each
/// other, the later ones only have them asked once more: a Sentinel that repeats itself must not
/// have all connections opened again and again.
void SentinelTopology::hear_of_failover() {
  const TimePoint now = BootClock::now();
  if (now < heard_at_ + AskingThreads::fresh_for) {
    ask_at_ = heard_at_ + AskingThreads::fresh_for;
    return;
  }
  heard_at_ = now;
  note_change();
  ask_anew();
}

void SentinelTopology::ask_anew() {
  ask_at_ = TimePoint::max();
  for (Sentinel& one : sentinels_) one.asking.reset();
  ask_all();
}

void SentinelTopology::subscribe_later() {
  const std::uniform_int_distribution<std::int64_t>::param_type range(min_subscribe_pause.count(),
                                                                      max_subscribe_pause.count());
  subscribe_at_ =
      BootClock::now() +
      std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(range)(random_));
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
  try {
    if (subscribing_ && subscribing_->wait(TimePoint::max(), never_cancelled)) {
      *subscribing_->result() = {};
    }
  } catch (const std::exception&) {
    // It has not subscribed.
  }
  if (subscription_) *subscription_ = {};
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
  }
  if (primary_) primary_->after_fork_in_child();
  if (subscribing_) subscribing_->abandon();
  subscribing_.reset();
  if (subscription_) subscription_->transport->close();
  subscription_.reset();
  threads_.after_fork_in_child();
  is_in_use_ = false;
  random_.seed(static_cast<std::uint32_t>(random_()) ^ static_cast<std::uint32_t>(::getpid()));
  mutex_.unlock();
}

}  // namespace redlatch::detail
