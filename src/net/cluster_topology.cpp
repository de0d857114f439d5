#include "net/cluster_topology.hpp"

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/protocol/command.hpp>

#include "net/connection.hpp"
#include "net/credential_source.hpp"
#include "net/mapped_address.hpp"
#include "net/poll.hpp"
#include "net/resolver.hpp"
#include "net/tls_transport.hpp"

namespace redlatch::detail {
namespace {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

/// How often the map is asked for without a reason.
constexpr std::chrono::seconds refresh_period{60};
/// How many nodes are asked at once.
constexpr std::size_t asked_at_once = 3;
/// How many nodes without slots are remembered to which slots are being moved.
constexpr std::size_t max_targets = 16;
/// How long an answer is waited for where no node has given one so far: the way to all of them may
/// be long.
constexpr std::chrono::seconds max_wait_for_any{2};
/// `cluster-node-timeout` where no node tells it.
constexpr std::chrono::seconds assumed_node_timeout{2};

/// A node that is silent for a node timeout may be replaced. Half of it leaves room for a node that
/// was busy before it answered last.
TimePoint::duration trust_of(std::chrono::milliseconds node_timeout) noexcept {
  return node_timeout / 2;
}

/// Behind a stop of this process, others have what it has missed again, but no more than usual. On
/// time, a thread needs a moment to read what has come.
TimePoint::duration grace_for(TimePoint::duration late) noexcept {
  return std::clamp<TimePoint::duration>(late, std::chrono::milliseconds(10),
                                         AskingThreads::max_wait_for_newer);
}

}  // namespace

/// One node, for the connections to it.
class ClusterTopology::NodeTopology final : public Topology {
 public:
  NodeTopology(ClusterTopology& cluster, std::size_t number, TimePoint::duration trust)
      : cluster_(cluster), number_(number) {
    trust_for(trust);
    end_trust();
  }

  Destination locate(TimePoint deadline, int cancel) override {
    return cluster_.locate(number_, deadline, cancel);
  }
  void prefer(const SocketAddress& address) noexcept override { cluster_.prefer(address); }
  void avoid(const SocketAddress& address) noexcept override { cluster_.avoid(address); }
  void redirected(std::string_view error_reply) noexcept override {
    cluster_.node_redirected(number_, error_reply);
  }
  void confirm(TimePoint since, TimePoint deadline, int cancel) override {
    cluster_.confirm_node(number_, since, deadline, cancel);
  }
  bool is_confirmed(TimePoint since) override { return cluster_.is_node_confirmed(number_, since); }
  TimePoint watch(std::vector<pollfd>& descriptors) override { return cluster_.watch(descriptors); }
  void attend() noexcept override { cluster_.attend(); }
  void before_fork() override {}
  void after_fork_in_parent() override {}
  void after_fork_in_child() noexcept override {}

  void note_change() noexcept {
    Topology::note_change();
    end_trust();
  }
  using Topology::end_trust;
  using Topology::trust_for;

 private:
  ClusterTopology& cluster_;  // which owns this
  const std::size_t number_;
};

ClusterTopology::ClusterTopology(const Endpoint& endpoint, const ClientOptions& options,
                                 std::shared_ptr<TlsContext> tls,
                                 std::shared_ptr<CredentialSource> credentials)
    : options_(AskingThreads::options(options)),
      map_address_(options.map_address),
      login_{.user = endpoint.user, .password = endpoint.password},
      credentials_(std::move(credentials)),
      tls_(std::move(tls)),
      view_(endpoint.nodes),
      trust_(trust_of(assumed_node_timeout)),
      random_(random_seed()) {}

ClusterTopology::~ClusterTopology() = default;

std::size_t ClusterTopology::asked_node_of(std::string_view key) const noexcept {
  const std::size_t slot = protocol::slot_of(key);
  const MutexLock lock(mutex_);
  const auto moving = moving_.find(slot);
  return moving == moving_.end() ? view_.seat_of(slot) : moving->second;
}

ClusterTopology::Node& ClusterTopology::node_at(std::size_t number) {
  while (nodes_.size() <= number) {
    nodes_.push_back({.topology = std::make_shared<NodeTopology>(*this, nodes_.size(), trust_)});
  }
  return nodes_[number];
}

std::shared_ptr<Topology> ClusterTopology::node(std::size_t number) {
  const MutexLock lock(mutex_);
  return {shared_from_this(), node_at(number).topology.get()};
}

Destination ClusterTopology::locate(std::size_t number, TimePoint deadline, int cancel) {
  static_assert(unknown_node == ClusterView::unknown_seat);
  const bool is_for_nodes = number == unknown_node;
  bool is_known = false;
  for (std::size_t rounds = 0;; ++rounds) {
    Calls calls;
    std::size_t nodes = 0;
    {
      const MutexLock lock(mutex_);
      is_known = view_.is_known();
      if (is_known && is_for_nodes) throw NodesLearned();
      is_in_use_ = true;
      calls = ask_some();
      nodes = asked_.size();
    }
    const TimePoint now = BootClock::now();
    const auto share =
        std::min<TimePoint::duration>(AskingThreads::max_wait_for_newer, (deadline - now) / 4);
    wait_for_some(calls, is_known ? now + share : deadline, cancel);
    if (!has_map()) {
      AskingThreads::wait_for_failures(calls, options_.connect_timeout, deadline, cancel);
    }
    const MutexLock lock(mutex_);
    if (is_known || view_.is_known()) break;
    // All that were asked have failed: the others may be there.
    const bool is_over = BootClock::now() >= deadline;
    if (is_over || (rounds + 1) * asked_at_once >= nodes) throw failure_of(calls);
    asked_at_ = {};
  }
  if (is_for_nodes) throw NodesLearned();
  std::shared_ptr<Resolver> resolver;
  Destination destination;
  {
    const MutexLock lock(mutex_);
    Node& node = node_at(number);
    if (!node.resolver) throw IoError(Errc::unreachable, "the cluster has no such node any more");
    // The version is from behind that change, so that the connection would not seem to be obsolete.
    if (view_.is_left(number)) {
      throw IoError(Errc::unreachable, "the node " + written(view_.address(number)) +
                                           " of the cluster has no slots any more");
    }
    resolver = node.resolver;
    destination.version = node.topology->version();
    destination.description = "the node " + written(view_.address(number)) + " of the cluster";
  }
  Destination resolved = resolver->locate(deadline, cancel);
  destination.addresses = std::move(resolved.addresses);
  destination.tls = std::move(resolved.tls);
  return destination;
}

bool ClusterTopology::has_map() const {
  const MutexLock lock(mutex_);
  return view_.is_known();
}

/// Has some nodes asked, unless that was done a moment ago.
ClusterTopology::Calls ClusterTopology::ask_some() {
  const TimePoint now = BootClock::now();
  if (!calls_.empty() && now - asked_at_ < AskingThreads::fresh_for) return calls_;
  asked_at_ = now;
  threads_.forget_shortage();
  const std::uniform_int_distribution<int>::param_type jitter(90, 110);
  ask_at_ = now + refresh_period * std::uniform_int_distribution<int>(jitter)(random_) / 100;
  learn_nodes();
  calls_.clear();
  for (const Address& address : reports_.in_order(random_)) {
    if (calls_.size() == asked_at_once) break;
    Asked& one = *std::ranges::find(asked_, address, &Asked::address);
    if (!one.asking) {
      one.asking =
          threads_.try_start<Outcome>([self = shared_from_this(), address, settings = one.settings](
                                          AskingThreads::Talk& talk, int cancel) mutable {
            return self->ask(address, std::move(settings), talk, cancel);
          });
      if (!one.asking) continue;
      reports_.note_asked(address, now);
    }
    calls_.push_back({.address = address, .asking = one.asking});
  }
  return calls_;
}

/// Keeps what is known of the nodes that the view has still.
void ClusterTopology::learn_nodes() {
  const std::vector<Address> all = view_.nodes();
  std::erase_if(asked_,
                [&](const Asked& one) { return std::ranges::find(all, one.address) == all.end(); });
  // A call that is over has a descriptor.
  for (Asked& one : asked_) {
    if (one.asking && one.asking->is_finished()) one.asking.reset();
  }
  for (const Address& address : all) {
    const bool is_new = std::ranges::find(asked_, address, &Asked::address) == asked_.end();
    if (!is_new) continue;
    asked_.push_back({.address = address,
                      .settings = AskingThreads::settings_for(address, login_, {.only_login = true},
                                                              options_, tls_, credentials_)});
  }
  reports_.follow_view();
}

/// On a thread of its own. The view gets what comes of it, whether anything still waits for it or
/// not.
ClusterTopology::Outcome ClusterTopology::ask(const Address& address,
                                              std::shared_ptr<const Settings> settings,
                                              AskingThreads::Talk& talk, int cancel) {
  try {
    return outcome_of(address, std::move(settings), talk, cancel);
  } catch (const std::exception&) {
    return {};  // memory is out
  }
}

ClusterTopology::Outcome ClusterTopology::outcome_of(const Address& address,
                                                     std::shared_ptr<const Settings> settings,
                                                     AskingThreads::Talk& talk, int cancel) {
  Outcome outcome{.begun = BootClock::now(), .address = address};
  try {
    ClusterAnswer answer =
        answer_of(*settings, address, outcome.begun + options_.connect_timeout, cancel);
    Mapping mapped;
    if (map_address_) {
      settings.reset();  // it uses TLS
      talk.pause();
      const Finally go_on([&] { talk.go_on(); });
      mapped = map(answer, address);
    }
    const MutexLock lock(mutex_);
    if (has_ended_) return outcome;
    learn_answer(address, answer, outcome.begun);
    if (map_address_) mapped_ = std::move(mapped);
    std::erase_if(moving_, [&](const auto& one) REDLATCH_REQUIRES(mutex_) {
      return view_.seat_of(one.first) == one.second;
    });
    outcome.is_answered = true;
    return outcome;
  } catch (const IoError& error) {
    outcome.failure.emplace(error.code(), written(address) + ": " + error.what());
  } catch (const std::exception& error) {
    outcome.failure.emplace(Errc::unreachable, written(address) + ": " + error.what());
  }
  note_failure(outcome);
  return outcome;
}

void ClusterTopology::learn_answer(const Address& address, const ClusterAnswer& answer,
                                   TimePoint begun) {
  const TimePoint now = BootClock::now();
  view_.take(answer, begun, now);
  follow();
  reports_.note_answer(address, answer, begun, now);
  const TimePoint::duration trust =
      trust_of(reports_.node_timeout().value_or(assumed_node_timeout));
  const bool is_less = std::exchange(trust_, trust) > trust;
  for (const Node& node : nodes_) {
    node.topology->trust_for(trust);
    if (is_less) node.topology->end_trust();
  }
}

void ClusterTopology::note_failure(const Outcome& outcome) {
  const bool was_stopped = AskingThreads::was_stopped(outcome.begun, options_.connect_timeout);
  const MutexLock lock(mutex_);
  if (was_stopped) return reports_.forget_question(outcome.address);
  reports_.note_failure(outcome.address);
}

bool ClusterTopology::wants_node_timeout(const Address& address) const {
  const MutexLock lock(mutex_);
  return reports_.wants_node_timeout(address, BootClock::now());
}

/// The epoch is asked for before the slots. If a failover comes between the two, the new map is
/// taken for one of the older epoch, which is corrected by the next answer. The other way round,
/// the older map would be believed until the next failover.
ClusterAnswer ClusterTopology::answer_of(const Settings& settings, const Address& address,
                                         TimePoint deadline, int cancel) const {
  const Connection connection = connect(settings, deadline, cancel);
  const auto say = [&](auto... words) {
    return detail::ask(*connection.stream, *connection.transport,
                       Command(Expect::anything, words...), deadline);
  };
  const Reply nodes = say("CLUSTER", "NODES");
  const Reply slots = say("CLUSTER", "SLOTS");
  if (slots.is_error()) {
    throw IoError(protocol::classify(slots.text),
                  protocol::explain(slots.text) +
                      "; is this a node of a cluster, and may the user run CLUSTER SLOTS? (a "
                      "server without a cluster has the URL redis://)");
  }
  ClusterAnswer answer = read_slots(slots, address);
  if (answer.ranges.empty()) {
    throw IoError(Errc::not_writable, "the cluster has no slots yet; is it set up?");
  }
  add_nodes(answer, nodes);
  if (wants_node_timeout(address)) {
    try {
      answer.node_timeout = read_node_timeout(say("CONFIG", "GET", "cluster-node-timeout"));
      answer.refuses_node_timeout = !answer.node_timeout;
    } catch (const IoError&) {
      // Some services close a connection at CONFIG.
    }
  }
  return answer;
}

/// Throws `IoError` for a primary that cannot be translated; another node is only forgotten.
ClusterTopology::Mapping ClusterTopology::map(ClusterAnswer& answer, const Address& asked) const {
  Mapping mapped;
  const auto translated = [&](const Address& address) {
    if (address == asked) return address;  // a node that does not know its own: see `read_slots`
    const auto known = std::ranges::find(mapped, address, &Mapping::value_type::first);
    if (known != mapped.end()) return known->second;
    Address result = mapped_by(map_address_, address);
    mapped.emplace_back(address, result);
    return result;
  };
  for (ClusterAnswer::Range& range : answer.ranges) range.primary = translated(range.primary);
  std::erase_if(answer.nodes, [&](Address& one) {
    try {
      one = translated(one);
      return false;
    } catch (const IoError&) {
      return true;
    }
  });
  std::vector<Address> targets;
  {
    const MutexLock lock(mutex_);
    targets = targets_;
  }
  for (const Address& target : targets) {
    try {
      translated(target);
    } catch (const IoError&) {
      // The slot cannot be followed before it has moved.
    }
  }
  return mapped;
}

/// Finds the seats whose nodes are others now, or have no slots any more. What the view says has
/// changed is not enough: a change that could not be followed, for want of memory, would never be.
void ClusterTopology::follow() {
  for (std::size_t seat = unknown_node + 1; seat < view_.seats(); ++seat) {
    Node& node = node_at(seat);
    const bool was_empty = std::exchange(node.is_empty, view_.is_empty(seat));
    if (node.address != view_.address(seat)) {
      lead_to(node, view_.address(seat));
    } else if (was_empty || !node.is_empty) {
      continue;
    }
    node.topology->note_change();
    note_change();
    wake_background();
  }
}

void ClusterTopology::lead_to(Node& node, Address address) const {
  Endpoint endpoint;
  endpoint.host = address.host;
  endpoint.port = address.port;
  node.resolver = std::make_shared<Resolver>(endpoint, tls_for_host(tls_, address.host));
  node.address = std::move(address);
}

void ClusterTopology::node_redirected(std::size_t node, std::string_view error_reply) noexcept {
  try {
    const MutexLock lock(mutex_);
    if (!has_ended_) learn_redirect(node, error_reply);
  } catch (const std::exception&) {
    // Without memory or a descriptor, the next map of slots says it.
  }
}

void ClusterTopology::learn_redirect(std::size_t node, std::string_view error_reply) {
  std::optional<Redirect> redirect = read_redirect(error_reply, view_.address(node));
  if (!redirect) return ask_soon();  // the map may tell more
  if (!redirect->asks) ask_soon();
  if (map_address_) {
    // The function may take long, so only what it has made of a map is used.
    const auto known = std::ranges::find(mapped_, redirect->to, &Mapping::value_type::first);
    if (known == mapped_.end()) {
      if (redirect->asks) have_mapped(redirect->to);
      return ask_soon();
    }
    redirect->to = known->second;
  }
  if (redirect->asks) {
    ClusterView::Changed changed;
    moving_[redirect->slot] = view_.seat_at(redirect->to, changed);
    return follow();
  }
  moving_.erase(redirect->slot);
  view_.move(redirect->slot, redirect->to);
  follow();
}

/// A node that is to get its first slots is in no map.
void ClusterTopology::have_mapped(const Address& target) {
  if (std::ranges::find(targets_, target) != targets_.end()) return;
  if (targets_.size() == max_targets) targets_.erase(targets_.begin());
  targets_.push_back(target);
}

/// Has the background thread ask, but not more often than every 100 ms.
void ClusterTopology::ask_soon() {
  const TimePoint at = std::max(BootClock::now(), asked_at_ + AskingThreads::fresh_for);
  if (at >= ask_at_) return;
  ask_at_ = at;
  wake_background();
}

/// It leaves the connections to former primaries, or asks at a time that has become sooner.
void ClusterTopology::wake_background() noexcept {
  is_woken_ = true;
  wake_.signal();
}

/// Why no node has given a map: for configuration rather than for outages.
IoError ClusterTopology::failure_of(const Calls& calls) const {
  if (calls.empty()) return {Errc::unreachable, threads_.why_short("a node")};
  std::optional<Errc> code;
  std::string why;
  std::size_t named = 0;
  for (const auto& call : calls) {
    if (call->is_finished() && !call->result().failure) continue;
    const IoError failure =
        call->is_finished() ? *call->result().failure
                            : IoError(Errc::unreachable, call.complaint(map_address_ != nullptr));
    if (!code || (is_outage(*code) && !is_outage(failure.code()))) code = failure.code();
    if (named++ < AskingThreads::max_named)
      why += (why.empty() ? "" : "; ") + std::string(failure.what());
  }
  if (why.empty()) why = "the client has ended";
  return {code.value_or(Errc::unreachable),
          "no node of the cluster gives its map of slots: " + why};
}

/// Why the nodes that were asked last have not answered, if this client knows.
std::string ClusterTopology::why_unanswered() const {
  std::string why;
  if (threads_.are_short()) why = threads_.why_short("a node");
  std::size_t named = 0;
  for (const auto& call : calls_) {
    if (!call->is_finished() || !call->result().failure) continue;
    if (named++ == AskingThreads::max_named) break;
    why += (why.empty() ? "" : "; ") + std::string(call->result().failure->what());
  }
  return why;
}

/// Two, as one may be the node that was replaced.
void ClusterTopology::wait_for_some(const Calls& calls, TimePoint deadline, int cancel) {
  AskingThreads::wait_for(
      calls, 2, [](const Outcome& one) { return one.is_answered; }, deadline, cancel);
}

/// A node that may be replaced has failed, by the word of all others, from before the election.
void ClusterTopology::confirm_node(std::size_t number, TimePoint since, TimePoint deadline,
                                   int cancel) {
  TimePoint::duration pause = std::chrono::milliseconds(20);
  while (const auto until = awaited_until(number, since, deadline)) {
    Calls calls;
    Address own;
    {
      const MutexLock lock(mutex_);
      own = view_.address(number);
      asked_at_ = {};
      calls = ask_some();
    }
    const auto is_of_other = [&](const Outcome& one) {
      return one.is_answered && one.begun >= since && one.address != own;
    };
    const TimePoint end = std::min(*until, BootClock::now() + AskingThreads::fresh_for);
    AskingThreads::wait_for(calls, NodeReports::enough_others, is_of_other, end, cancel);
    if (!awaited_until(number, since, deadline)) return;
    const TimePoint now = BootClock::now();
    const TimePoint knows_itself = since + NodeReports::max_ignorance;
    poll_until({}, std::min({*until, now + pause, now < knows_itself ? knows_itself : *until}));
    pause = std::min<TimePoint::duration>(2 * pause, AskingThreads::fresh_for);
  }
}

/// What was asked before that time does not count; what was asked since then is waited for.
bool ClusterTopology::is_node_confirmed(std::size_t number, TimePoint since) {
  if (!awaited_until(number, since, TimePoint::max())) return true;
  const MutexLock lock(mutex_);
  if (asked_at_ < since) asked_at_ = {};
  ask_some();
  return false;
}

/// Until when other nodes may still answer; none: the node is to be believed. Behind that time,
/// those that have answered are enough. Throws `IoError` if the node is not to be believed, or if
/// that is not known at the deadline: few of them are not enough only because a call has little
/// time.
std::optional<TimePoint> ClusterTopology::awaited_until(std::size_t number, TimePoint since,
                                                        TimePoint deadline) {
  using Verdict = NodeReports::Verdict;
  const MutexLock lock(mutex_);
  const TimePoint now = BootClock::now();  // a stop from here on does not count as a wait
  const TimePoint counted_from = looks_.count_from(since);
  reports_.forget_failures(since, counted_from);
  const Verdict verdict = reports_.verdict(number, since);
  if (has_ended_ || verdict == Verdict::settled) return std::nullopt;
  const TimePoint usual_end = counted_from + AskingThreads::max_wait_to_confirm;
  TimePoint end = verdict == Verdict::unknown ? since + max_wait_for_any : usual_end;
  if (now >= end) {
    Node& node = node_at(number);
    if (node.grace_until <= end) node.grace_until = now + grace_for(now - end);
    end = node.grace_until;
  }
  if (now >= end && verdict == Verdict::well) return std::nullopt;
  if (now >= std::min(end, deadline)) throw doubt(number, verdict);
  return std::min(end, deadline);
}

IoError ClusterTopology::doubt(std::size_t number, NodeReports::Verdict verdict) const {
  using Verdict = NodeReports::Verdict;
  std::string text = "the node " + written(view_.address(number)) +
                     " answers for the first time, or after a long silence, and ";
  if (verdict == Verdict::failed) {
    text += "other nodes of the cluster take it for failed";
  } else {
    text += verdict == Verdict::well ? "not enough other nodes of the cluster say"
                                     : "no other node of the cluster says";
    text += " whether it was replaced meanwhile";
    if (const std::string why = why_unanswered(); !why.empty()) text += ": " + why;
  }
  return {Errc::unreachable, text};
}

/// Of all nodes, as few have the same address.
void ClusterTopology::prefer(const SocketAddress& address) noexcept {
  const MutexLock lock(mutex_);
  for (const Node& node : nodes_) {
    if (node.resolver) node.resolver->prefer(address);
  }
}

void ClusterTopology::avoid(const SocketAddress& address) noexcept {
  const MutexLock lock(mutex_);
  for (const Node& node : nodes_) {
    if (node.resolver) node.resolver->avoid(address);
  }
}

TimePoint ClusterTopology::watch(std::vector<pollfd>& descriptors) {
  const MutexLock lock(mutex_);
  const TimePoint end = is_in_use_ ? ask_at_ : TimePoint::max();
  try {
    wake_.open();
  } catch (const std::system_error&) {
    // No descriptor is left: what it would have ended the poll for is looked for in a moment.
    return std::min(end, BootClock::now() + AskingThreads::fresh_for);
  }
  descriptors.push_back({.fd = wake_.fd(), .events = POLLIN, .revents = 0});
  for (const auto& call : calls_) {
    if (!call->is_finished()) {
      descriptors.push_back({.fd = call->fd(), .events = POLLIN, .revents = 0});
    }
  }
  return end;
}

void ClusterTopology::attend() noexcept {
  try {
    const MutexLock lock(mutex_);
    looks_.look();
    if (std::exchange(is_woken_, false)) wake_.clear();
    if (is_in_use_ && BootClock::now() >= ask_at_) ask_some();
  } catch (const std::exception&) {
    // No memory, thread or descriptor is left: the next connection asks anew.
  }
}

/// A thread that is in `map_address`, which may take for ever, is not waited for: what uses TLS is
/// taken away from it.
void ClusterTopology::end() noexcept {
  {
    const MutexLock lock(mutex_);
    has_ended_ = true;
    threads_.cancel();
  }
  threads_.wait_for_all();
  const MutexLock lock(mutex_);
  calls_.clear();
  asked_.clear();
  for (Node& node : nodes_) node.resolver.reset();
  tls_.reset();
}

void ClusterTopology::before_fork() {
  mutex_.lock();
  for (const Node& node : nodes_) {
    if (node.resolver) node.resolver->before_fork();
  }
  for (const Asked& one : asked_) one.settings->topology->before_fork();
}

void ClusterTopology::after_fork_in_parent() {
  for (const Asked& one : asked_) one.settings->topology->after_fork_in_parent();
  for (const Node& node : nodes_) {
    if (node.resolver) node.resolver->after_fork_in_parent();
  }
  mutex_.unlock();
}

void ClusterTopology::after_fork_in_child() noexcept {
  for (Asked& one : asked_) {
    one.settings->topology->after_fork_in_child();
    if (one.asking) one.asking->abandon();
    one.asking.reset();
  }
  for (const Node& node : nodes_) {
    if (node.resolver) node.resolver->after_fork_in_child();
  }
  calls_.clear();
  reports_.forget_questions();
  asked_at_ = {};
  threads_.after_fork_in_child();
  wake_.close();
  is_in_use_ = false;
  random_.seed(static_cast<std::uint32_t>(random_()) ^ static_cast<std::uint32_t>(::getpid()));
  mutex_.unlock();
}

}  // namespace redlatch::detail
