#pragma once

#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include <redlatch/options.hpp>

#include "base/io_error.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "base/url.hpp"
#include "net/asking_threads.hpp"
#include "net/connection.hpp"
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
/// **Listening.** The background thread keeps a subscription at one Sentinel, and has all of them
/// asked when it hears of a failover or of another Sentinel, and whenever the subscription is
/// opened. A Sentinel that does not answer a PING there for a second is left for the next one. One
/// that has answered when it was asked comes before one that has not: to wait for a Sentinel that
/// has hung is not to listen. One that refuses the subscription is left alone for a minute.
/// Without that, a client whose connections are idle would not notice that its primary was stopped,
/// replaced, and woken up again as a former primary that believes in itself for some seconds.
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
  /// What became of asking one Sentinel.
  struct Outcome {
    std::optional<SentinelAnswer> answer{};
    std::optional<IoError> failure{};
  };
  using Asking = DetachedCall<Outcome>;
  using Subscribing = DetachedCall<std::shared_ptr<Connection>>;

  struct Sentinel {
    Address address;
    std::shared_ptr<const Settings> settings;  // to connect to it
    std::shared_ptr<Asking> asking{};          // the last time, perhaps under way
    TimePoint refused_until{};                 // it is not subscribed to before
    bool has_answered() const { return asking && asking->is_finished() && asking->result().answer; }
  };
  using Call = AskingThreads::Call<Outcome>;
  using Calls = std::vector<Call>;

  Calls ask_all() REDLATCH_REQUIRES(mutex_);
  Sentinel& sentinel_at(const Address& address) REDLATCH_REQUIRES(mutex_);
  Outcome ask(const Address& address, std::shared_ptr<const Settings> settings,
              AskingThreads::Talk& talk, int cancel) REDLATCH_EXCLUDES(mutex_);
  SentinelAnswer answer_of(const Settings& settings, TimePoint deadline, int cancel) const;
  void map(SentinelAnswer& answer) const;
  bool is_primary_known() const REDLATCH_EXCLUDES(mutex_);
  IoError failure_of(const Call& call) const;
  IoError failure_of(const Calls& calls) const REDLATCH_REQUIRES(mutex_);
  void note_primary() REDLATCH_REQUIRES(mutex_);
  Sentinel* next_to_subscribe() REDLATCH_REQUIRES(mutex_);
  bool is_asking() const REDLATCH_REQUIRES(mutex_);
  void subscribe() REDLATCH_REQUIRES(mutex_);
  void end_subscribing() REDLATCH_REQUIRES(mutex_);
  void end_subscription() REDLATCH_REQUIRES(mutex_);
  void ping() REDLATCH_REQUIRES(mutex_);
  void receive_messages() REDLATCH_REQUIRES(mutex_);
  void hear_of_failover() REDLATCH_REQUIRES(mutex_);
  void ask_anew() REDLATCH_REQUIRES(mutex_);
  void subscribe_later() REDLATCH_REQUIRES(mutex_);

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
  std::error_code not_asked_ REDLATCH_GUARDED_BY(mutex_){};  // why a thread could not be started
  bool has_ended_ REDLATCH_GUARDED_BY(mutex_) = false;
  SentinelView view_ REDLATCH_GUARDED_BY(mutex_);
  std::list<Sentinel> sentinels_ REDLATCH_GUARDED_BY(mutex_){};      // of the view
  std::shared_ptr<Resolver> primary_ REDLATCH_GUARDED_BY(mutex_){};  // null before it is known
  std::optional<Address> primary_address_ REDLATCH_GUARDED_BY(mutex_){};
  bool is_in_use_ REDLATCH_GUARDED_BY(mutex_) = false;  // a connection was wanted
  std::shared_ptr<Subscribing> subscribing_ REDLATCH_GUARDED_BY(mutex_){};
  std::shared_ptr<Connection> subscription_ REDLATCH_GUARDED_BY(mutex_){};
  TimePoint ping_at_ REDLATCH_GUARDED_BY(mutex_){};
  bool is_pinged_ REDLATCH_GUARDED_BY(mutex_) = false;  // and has not answered
  TimePoint subscribe_at_ REDLATCH_GUARDED_BY(mutex_){};
  TimePoint heard_at_ REDLATCH_GUARDED_BY(mutex_){};  // of a failover, the last time that counts
  TimePoint ask_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();  // after more messages
  std::size_t subscribed_ REDLATCH_GUARDED_BY(mutex_) = 0;           // the next is at this Sentinel
  Address subscribing_to_ REDLATCH_GUARDED_BY(mutex_){};
  std::minstd_rand random_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
