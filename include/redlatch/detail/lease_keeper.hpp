#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/lease.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// Renews leases in the background, and announces their loss. Any thread may call any member.
class LeaseKeeper {
 public:
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  /// An unused lease for the key. Throws `Error` if no thread can be had to renew it.
  virtual Lease& open_lease(std::string_view key) = 0;
  /// Takes the lease back, which ends here.
  virtual void close_lease(Lease& lease) noexcept = 0;
  /// The background renews the lease by its schedule from now on, and announces its loss in time.
  virtual void keep(Lease& lease) noexcept = 0;
  /// No renewals until `keep`; a loss is still announced.
  virtual void suspend(Lease& lease) noexcept = 0;
  /// The lock manages the lease again: no renewal is sent once this has returned. The reply to one
  /// that is in flight still counts.
  virtual void pause_renewal(Lease& lease) noexcept = 0;
  /// As `pause_renewal`, and replies to renewals in flight do not count any more. True if the loss
  /// of the lease was announced.
  virtual bool detach(Lease& lease) noexcept = 0;
  virtual std::stop_token lost_token(Lease& lease) = 0;
  /// The number of the thread that has acquired a lease of one of the keys of a command, if that is
  /// kept here; else 0.
  virtual int holding_thread(std::string_view key, const protocol::Command& command) noexcept = 0;
  /// The values that begin with this owner tag of valid leases of the key which locks of any
  /// clients of this process have, one for each client: of its server.
  virtual std::vector<std::string> held_in_process(std::string_view key,
                                                   std::string_view owner_tag) = 0;

 protected:
  LeaseKeeper() = default;
  ~LeaseKeeper() = default;
};

}  // namespace redlatch::detail
