#pragma once

#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/options.hpp>

#include "base/io_error.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "base/url.hpp"
#include "net/asked_sentinel.hpp"
#include "net/asking_threads.hpp"
#include "net/sentinel_view.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

class Resolver;

/// The primary that the Sentinels of a service name.
///
/// **Asking.** Each new connection has all Sentinels asked at once, each on a thread of its own
/// that ends with the answer (`DetachedCall`), as host names and connections may hang. Calls that
/// are under way, or began less than 100 ms ago, serve all connections of the client. The wait ends
/// with the answers of a majority, or 100 ms behind the first one. Whatever comes later still
/// counts: each answer goes into the `SentinelView` when it comes, and a newer configuration makes
/// the connections to the former primary obsolete (`Topology::version`). The connection then asks
/// the server for its ROLE (`NodeRole::must_be_primary`).
///
/// **Listening.** The background thread keeps a subscription at each of up to eight Sentinels, and
/// has all Sentinels asked as it begins, which may be before anything connects, when it hears of a
/// failover or of another Sentinel, and when a subscription has been opened. Sentinels that have
/// answered when they were asked come first. Without messages, a client whose connections are idle
/// would not notice that its primary was stopped, replaced, and woken up again as a former primary
/// that believes in itself for some seconds. A subscription at one Sentinel would not do: a
/// Sentinel that is cut off from the others answers every PING and hears of no failover.
///
/// Every Sentinel publishes a failover, and the leading Sentinel does so twice. A message that
/// names the known primary makes no connection obsolete. Any other one does, and until the Sentinel
/// has answered what the primary is, or the announced one is known, none is known.
///
/// A Sentinel that has told of something, or that is listened to again, is asked until it answers:
/// the question may get lost. While none is listened to, the primary is trusted for a second behind
/// each of its answers (`Topology::is_trusted`), and then the Sentinels are asked.
///
/// If no Sentinel answers, the last primary is used: an outage of the Sentinels alone does no harm.
class SentinelTopology final : public Topology,
                               public std::enable_shared_from_this<SentinelTopology> {
 public:
  /// `tls`: of the servers; null without TLS. Reads the files of `options.sentinel.tls`, and throws
  /// `Error` for one that cannot be used.
  SentinelTopology(const Endpoint& endpoint, const ClientOptions& options,
                   std::shared_ptr<TlsContext> tls);
  SentinelTopology(const SentinelTopology&) = delete;
  SentinelTopology& operator=(const SentinelTopology&) = delete;
  ~SentinelTopology() override;

  Destination locate(TimePoint deadline, int cancel) override;
  void confirm(TimePoint since, TimePoint deadline, int cancel) override;
  bool is_confirmed(TimePoint since) override;
  void prefer(const SocketAddress& address) noexcept override;
  void avoid(const SocketAddress& address) noexcept override;
  bool wants_watch() const noexcept override { return true; }
  TimePoint watch(std::vector<pollfd>& descriptors) override;
  void attend() noexcept override;
  void end() noexcept override;

  // The mutexes of the members are locked by one call and unlocked by another, which the analysis
  // cannot follow, as these are no mutexes of this class.
  void before_fork() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_parent() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_child() noexcept override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;

 private:
  using Outcome = AskedSentinel::Outcome;
  using Call = AskingThreads::Call<Outcome>;
  using Calls = std::vector<Call>;

  Calls ask_all(std::optional<TimePoint> since = std::nullopt) REDLATCH_REQUIRES(mutex_);
  void follow_view() REDLATCH_REQUIRES(mutex_);
  Outcome ask(const Address& address, std::shared_ptr<const Settings> settings,
              AskingThreads::Talk& talk, int cancel) REDLATCH_EXCLUDES(mutex_);
  Outcome outcome_of(const Address& address, std::shared_ptr<const Settings> settings,
                     TimePoint deadline, AskingThreads::Talk& talk, int cancel)
      REDLATCH_EXCLUDES(mutex_);
  void note_mapping(const Address& address, int change) REDLATCH_EXCLUDES(mutex_);
  void take(const Address& address, const Outcome& outcome, TimePoint begun)
      REDLATCH_REQUIRES(mutex_);
  bool is_settled(const AskedSentinel& one) const REDLATCH_REQUIRES(mutex_);
  void note_trust() REDLATCH_REQUIRES(mutex_);
  bool is_primary_known() const REDLATCH_EXCLUDES(mutex_);
  void await_end_of_doubt(TimePoint deadline, int cancel) REDLATCH_EXCLUDES(mutex_);
  SentinelAnswer answer_of(const Settings& settings, TimePoint deadline, int cancel) const;
  void map(SentinelAnswer& answer) const;
  bool is_in_doubt() const REDLATCH_REQUIRES(mutex_);
  IoError doubt() const REDLATCH_REQUIRES(mutex_);
  IoError failure_of(const Call& call) const;
  IoError failure_of(const Address& address, const Outcome& outcome) const;
  IoError failure_of(const Calls& calls) const REDLATCH_REQUIRES(mutex_);
  void note_primary() REDLATCH_REQUIRES(mutex_);
  bool may_subscribe() const REDLATCH_REQUIRES(mutex_);
  void subscribe() REDLATCH_REQUIRES(mutex_);
  void hear_of_failover(AskedSentinel& from, std::string_view message) REDLATCH_REQUIRES(mutex_);
  void ask_soon(AskedSentinel& about, TimePoint now) REDLATCH_REQUIRES(mutex_);
  void ask_when_due() REDLATCH_REQUIRES(mutex_);

  const std::string service_;
  const ClientOptions options_;  // with which a Sentinel is connected to
  const std::function<Address(const Address&)> map_address_;
  const Endpoint sentinel_login_;  // user and password at the Sentinels

  // Taken before those of the resolvers, of the primary and the Sentinels, and only around a fork
  // together with them.
  mutable Mutex mutex_{};
  std::shared_ptr<TlsContext> tls_ REDLATCH_GUARDED_BY(mutex_);
  std::shared_ptr<TlsContext> sentinel_tls_ REDLATCH_GUARDED_BY(mutex_);
  AskingThreads threads_{};
  bool has_ended_ REDLATCH_GUARDED_BY(mutex_) = false;
  SentinelView view_ REDLATCH_GUARDED_BY(mutex_);
  // Of the view, and those that have left it and are still being subscribed to.
  std::list<AskedSentinel> sentinels_ REDLATCH_GUARDED_BY(mutex_){};
  std::shared_ptr<Resolver> primary_ REDLATCH_GUARDED_BY(mutex_){};  // null before it is known
  std::optional<Address> primary_address_ REDLATCH_GUARDED_BY(mutex_){};
  AskingThreads::Looks looks_ REDLATCH_GUARDED_BY(mutex_){};  // of `is_confirmed`
  TimePoint heard_at_ REDLATCH_GUARDED_BY(mutex_){};  // of a failover, the last time that counts
  TimePoint ask_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();     // after messages
  TimePoint repeat_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();  // while answers are owed
  TimePoint::duration repeat_pause_ REDLATCH_GUARDED_BY(mutex_){};
  std::minstd_rand random_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
