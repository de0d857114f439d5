#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// What one Sentinel says about a service.
struct SentinelAnswer {
  std::optional<Address> primary{};  // none: it does not know the service
  // Of the configuration that names this primary: Sentinels agree on a larger one for each
  // failover. Source: the Redis documentation, "High availability with Redis Sentinel",
  // "Configuration epochs".
  std::uint64_t epoch = 0;
  std::vector<Address> others{};        // the other Sentinels of the service
  std::vector<std::string> services{};  // all that it knows, if it does not know this one
  std::optional<Address> told{};        // the primary as the Sentinel calls it
};

// What the replies to a Sentinel's commands say. All throw `IoError` with `protocol_error` for a
// reply of another form, and ignore what exceeds a few dozen entries.

/// SENTINEL GET-MASTER-ADDR-BY-NAME.
std::optional<Address> read_primary(const protocol::Reply& reply);
/// SENTINEL MASTER.
std::uint64_t read_epoch(const protocol::Reply& reply);
/// SENTINEL SENTINELS.
std::vector<Address> read_sentinels(const protocol::Reply& reply);
/// SENTINEL MASTERS: the names of the services.
std::vector<std::string> read_services(const protocol::Reply& reply);
/// The new primary that a message about a failover names, on "+switch-master" or "+promoted-slave".
/// None when it has another form.
std::optional<Address> read_promoted(std::string_view message);
/// Whether a message about an event has the name of the service as a word.
bool is_about(std::string_view service, std::string_view message) noexcept;

/// What all Sentinels of a service say, and which of them is believed: the one with the newest
/// configuration. A Sentinel that was cut off from the others may name a former primary, which may
/// still grant locks, so an older configuration is not believed while a newer one is remembered.
///
/// It has no socket, clock or mutex.
class SentinelView {
 public:
  /// The answer of a Sentinel that cannot be asked any more is forgotten so long after it was asked
  /// in vain: if all Sentinels were set up anew, their epochs begin anew.
  static constexpr std::chrono::minutes memory{1};
  /// Sentinels that are remembered besides those of the URL.
  static constexpr std::size_t max_learned = 32;

  /// The Sentinels that the URL names.
  explicit SentinelView(const std::vector<Address>& named);

  /// `begun`: when it began to be asked. An answer that comes behind one that was asked for later
  /// may be older than a failover that the other one knows of, and is ignored unless it is of a
  /// newer configuration.
  void take(const Address& sentinel, SentinelAnswer answer, TimePoint begun, TimePoint now);
  /// The Sentinel could not be asked, or its answer was of no use.
  void note_failure(const Address& sentinel, TimePoint now);

  /// None before the first answer that names one.
  const std::optional<Address>& primary() const noexcept { return primary_; }
  /// As the Sentinel calls it, in answers and messages, before `map_address`.
  const std::optional<Address>& told_primary() const noexcept { return told_primary_; }
  /// Those of the URL first.
  std::vector<Address> sentinels() const;

 private:
  struct Sentinel {
    Address address;
    bool is_named;  // in the URL
    std::optional<SentinelAnswer> answer{};
    TimePoint begun{};
    std::optional<TimePoint> failing_since{};
    TimePoint named{};  // when it first gave this primary for this configuration
  };

  Sentinel* find(const Address& sentinel) noexcept;
  void learn();
  void decide();

  std::vector<Sentinel> sentinels_{};
  std::optional<Address> primary_{};
  std::optional<Address> told_primary_{};
};

}  // namespace redlatch::detail
