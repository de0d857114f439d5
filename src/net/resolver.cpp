#include "net/resolver.hpp"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <iterator>
#include <new>
#include <system_error>
#include <utility>

#include "base/io_error.hpp"
#include "net/detached_call.hpp"

namespace redlatch::detail {

/// What getaddrinfo(3) has found; its error otherwise, with errno in `system_error`.
struct FoundAddresses {
  SocketAddresses addresses{};
  int error = 0;
  int system_error = 0;
};

namespace {

/// Maximum wait for a look-up when there are older addresses: name servers that work answer sooner.
constexpr std::chrono::milliseconds max_wait{500};

FoundAddresses find(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  FoundAddresses found;
  found.error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  found.system_error = errno;
  if (found.error != 0) return found;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    found.addresses.push_back(SocketAddress::of(one->ai_addr, one->ai_addrlen));
  }
  return found;
}

/// Empty for a name. AI_NUMERICHOST never asks a name server, so this cannot hang.
SocketAddresses without_look_up(const Endpoint& endpoint) {
  if (!endpoint.path.empty()) return {SocketAddress::of_unix(endpoint.path)};
  // The number of the network interface in an IPv6 address may change.
  if (endpoint.host.find('%') != std::string::npos) return {};
  FoundAddresses found = find(endpoint.host, endpoint.port, AI_NUMERICHOST | AI_NUMERICSERV);
  if (found.error == EAI_MEMORY) throw std::bad_alloc();
  return std::move(found.addresses);
}

FoundAddresses look_up(const std::string& host, std::uint16_t port) noexcept {
  try {
    return find(host, port, AI_NUMERICSERV);
  } catch (const std::exception&) {
    return {.error = EAI_MEMORY};
  }
}

/// False when the name servers could not be asked. That a name has no address is an answer: the
/// address that it had may be another server's by now.
bool is_an_answer(const FoundAddresses& found) noexcept {
  return found.error == 0 || found.error == EAI_NONAME || found.error == EAI_NODATA;
}

[[noreturn]] void fail(const FoundAddresses& found, const std::string& host) {
  if (found.error == EAI_MEMORY) throw std::bad_alloc();
  const std::string why = found.error == EAI_SYSTEM
                              ? std::generic_category().message(found.system_error)
                              : ::gai_strerror(found.error);
  throw IoError(Errc::unreachable, "the host name \"" + protocol::printable(host) +
                                       "\" has no address: " + why +
                                       "; check that name, and the resolver of this machine");
}

}  // namespace

Resolver::Resolver(const Endpoint& endpoint, std::shared_ptr<TlsContext> tls)
    : host_(endpoint.host),
      port_(endpoint.port),
      tls_(std::move(tls)),
      fixed_(without_look_up(endpoint)) {}

SocketAddresses Resolver::addresses(TimePoint deadline, int cancel) {
  if (!fixed_.empty()) return fixed_;
  std::shared_ptr<const LookUp> call;
  SocketAddresses before;
  std::string why = "no look-up can be started";
  {
    const MutexLock lock(mutex_);
    try {
      call = look_up();
    } catch (const std::system_error& error) {
      why += ": " + error.code().message();
    }
    before = known();
  }
  if (call) {
    // Counted from the beginning of the look-up, so that one that hangs delays only its first
    // caller.
    const TimePoint begun = call->begun();
    const auto share = std::min<TimePoint::duration>(max_wait, (deadline - begun) / 4);
    const TimePoint until = before.empty() ? deadline : begun + share;
    if (call->wait(std::min(until, deadline), cancel)) {
      const MutexLock lock(mutex_);
      learn(*call);
      const FoundAddresses& found = call->result();
      if (found.error == 0) {
        // A later look-up may have found none by now.
        SocketAddresses now = known();
        return now.empty() ? found.addresses : now;
      }
      if (before.empty() || is_an_answer(found)) fail(found, host_);
    }
    why = "the host name \"" + protocol::printable(host_) +
          "\" could not be looked up within connect_timeout; check the resolver of this machine";
  }
  if (before.empty()) throw IoError(Errc::unreachable, why);
  return before;
}

/// The look-up that is under way, or a new one. Throws `std::system_error` when there is no thread
/// or descriptor left.
std::shared_ptr<Resolver::LookUp> Resolver::look_up() {
  // A look-up that ended after all of its callers had stopped waiting.
  if (under_way_ && under_way_->is_finished()) learn(*under_way_);
  if (!under_way_) {
    under_way_ =
        LookUp::start([host = host_, port = port_] { return detail::look_up(host, port); });
  }
  return under_way_;
}

/// Each caller that has waited for the look-up calls this; the first one has an effect.
void Resolver::learn(const LookUp& finished) {
  if (under_way_.get() != &finished) return;
  const std::shared_ptr<const LookUp> kept = std::exchange(under_way_, nullptr);
  const FoundAddresses& found = finished.result();
  if (found.error != 0) {
    if (is_an_answer(found)) known_.clear();
    return;
  }
  // What was learned about an address is kept for as long as name servers have that address.
  std::vector<Known> known;
  for (const SocketAddress& address : found.addresses) {
    const Known* const before = find_known(address);
    known.push_back(before == nullptr ? Known{.address = address} : *before);
  }
  known_ = std::move(known);
}

/// The preferred address first, then the addresses that were never avoided, in the order of the
/// name server, then the avoided addresses, in the order in which they were avoided last.
SocketAddresses Resolver::known() const {
  std::vector<Known> sorted = known_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Known& one, const Known& other) {
    return one.is_preferred != other.is_preferred ? one.is_preferred : one.avoided < other.avoided;
  });
  SocketAddresses addresses;
  for (const Known& one : sorted) addresses.push_back(one.address);
  return addresses;
}

Resolver::Known* Resolver::find_known(const SocketAddress& address) noexcept {
  const auto at = std::find_if(known_.begin(), known_.end(),
                               [&](const Known& one) { return one.address == address; });
  return at == known_.end() ? nullptr : &*at;
}

void Resolver::prefer(const SocketAddress& address) noexcept {
  const MutexLock lock(mutex_);
  Known* const preferred = find_known(address);
  if (preferred == nullptr) return;
  for (Known& one : known_) one.is_preferred = &one == preferred;
  preferred->avoided = 0;
}

void Resolver::avoid(const SocketAddress& address) noexcept {
  const MutexLock lock(mutex_);
  Known* const avoided = find_known(address);
  if (avoided == nullptr) return;
  avoided->is_preferred = false;
  avoided->avoided = ++avoidances_;
}

void Resolver::after_fork_in_child() noexcept {
  if (under_way_) under_way_->abandon();
  under_way_.reset();
  mutex_.unlock();
}

}  // namespace redlatch::detail
