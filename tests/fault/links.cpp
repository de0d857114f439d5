#include "links.hpp"

#include <chrono>
#include <string>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

}  // namespace

Links::Links(std::span<const std::chrono::milliseconds> delays,
             const std::vector<std::string>& servers, bool tls)
    : tls_(tls) {
  for (const std::chrono::milliseconds delay : delays) {
    auto& row = proxies_.emplace_back();
    for (std::string target : servers) {
      if (delay > 0ms) {
        slow_.push_back(std::make_unique<SlowLink>(target, delay));
        target = ":" + std::to_string(slow_.back()->port());
      }
      row.push_back(std::make_unique<Proxy>(target));
    }
  }
}

std::vector<std::string> Links::urls(std::size_t worker) const {
  std::vector<std::string> urls;
  for (const auto& proxy : proxies_[worker]) {
    urls.push_back(tls_ ? proxy->tls_url() : proxy->url());
  }
  return urls;
}

std::vector<std::uint16_t> Links::ports(std::size_t worker) const {
  std::vector<std::uint16_t> ports;
  for (const auto& proxy : proxies_[worker]) ports.push_back(proxy->port());
  return ports;
}

Trouble Links::begin(Fault fault, std::size_t worker, std::size_t server) {
  Trouble trouble{.incident = {.fault = fault, .began = HistoryClock::now()}};
  Proxy& proxy = at(worker, server);
  trouble.end = fault == Fault::connections_cut ? cut(proxy)
                : fault == Fault::replies_held  ? hold_replies(proxy)
                                                : delay_requests(proxy);
  trouble.incident.lossy_until = trouble.incident.began;
  return trouble;
}

std::function<bool()> Links::cut(Proxy& proxy) {
  const bool landed = proxy.cut() > 0;
  return [landed] { return landed; };
}

std::function<bool()> Links::hold_replies(Proxy& proxy) {
  proxy.hold_all();
  return [&proxy] {
    const bool landed = proxy.holds_replies();
    proxy.let_go();
    return landed;
  };
}

std::function<bool()> Links::delay_requests(Proxy& proxy) {
  proxy.stall();
  return [&proxy] {
    const bool landed = proxy.holds_requests();
    proxy.release();
    return landed;
  };
}

}  // namespace redlatch::test
