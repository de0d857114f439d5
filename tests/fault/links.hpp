#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proxy.hpp"
#include "slow_link.hpp"
#include "trouble.hpp"

namespace redlatch::test {

/// What lies between workers and servers: a proxy for each pair, and for some workers a long way.
class Links {
 public:
  /// `delays`: of each worker, in each direction. `servers`: Unix sockets, or ports as ":6379".
  Links(std::span<const std::chrono::milliseconds> delays, const std::vector<std::string>& servers,
        bool tls);

  /// What leads to the servers, for one worker.
  std::vector<std::string> urls(std::size_t worker) const;
  std::vector<std::uint16_t> ports(std::size_t worker) const;
  /// A fault of what is between a worker and a server:
  /// - `connections_cut`: all at once; seen to land if there were some;
  /// - `replies_held`: on all connections that there are, so that what is said is carried out; seen
  ///   to land if the server has answered something;
  /// - `requests_late`: on all connections that there are, with the answers; seen to land if
  ///   something was said on one of them. It arrives at the end.
  Trouble begin(Fault fault, std::size_t worker, std::size_t server);

 private:
  Proxy& at(std::size_t worker, std::size_t server) { return *proxies_[worker][server]; }
  static std::function<bool()> cut(Proxy& proxy);
  static std::function<bool()> hold_replies(Proxy& proxy);
  static std::function<bool()> delay_requests(Proxy& proxy);

  std::vector<std::unique_ptr<SlowLink>> slow_{};
  std::vector<std::vector<std::unique_ptr<Proxy>>> proxies_{};
  bool tls_;
};

}  // namespace redlatch::test
