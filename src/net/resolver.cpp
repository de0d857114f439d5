#include "net/resolver.hpp"

#include <netdb.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <exception>
#include <iterator>
#include <new>
#include <system_error>
#include <utility>

#include "base/event_fd.hpp"
#include "base/io_error.hpp"
#include "base/quiet_thread.hpp"
#include "net/poll.hpp"

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

SocketAddresses without_look_up(const Endpoint& endpoint) {
  if (!endpoint.path.empty()) return {SocketAddress::of_unix(endpoint.path)};
  // The number of the network interface in an IPv6 address may change.
  if (endpoint.host.find('%') != std::string::npos) return {};
  FoundAddresses found = find(endpoint.host, endpoint.port, AI_NUMERICHOST | AI_NUMERICSERV);
  if (found.error == EAI_MEMORY) throw std::bad_alloc();
  return std::move(found.addresses);
}

}  // namespace

/// One call of getaddrinfo(3). Its thread writes the result and then `is_finished_`; after that all
/// threads only read it.
class Resolver::LookUp {
 public:
  LookUp(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port) {
    finished_.open();
  }

  void run() noexcept {
    try {
      found_ = find(host_, port_, AI_NUMERICSERV);
    } catch (const std::exception&) {
      found_ = {.error = EAI_MEMORY};
    }
    is_finished_ = true;
    finished_.signal();  // stays readable, for all that wait
  }

  /// False when the look-up has not finished by `until`.
  bool wait(TimePoint until, int cancel) const {
    std::array<pollfd, 2> watched{{{.fd = finished_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = cancel, .events = POLLIN, .revents = 0}}};
    if (!is_finished_) poll_until(watched, until);
    if (watched[1].revents != 0) throw Cancelled();
    return is_finished_;
  }

  TimePoint begun() const noexcept { return begun_; }
  bool is_finished() const noexcept { return is_finished_; }
  /// This and the next two: of a look-up that is finished.
  const FoundAddresses& found() const noexcept {
    assert(is_finished_);
    return found_;
  }
  /// False when the name servers could not be asked. That a name has no address is an answer: the
  /// address that it had may be another server's by now.
  bool is_an_answer() const noexcept {
    return found_.error == 0 || found_.error == EAI_NONAME || found_.error == EAI_NODATA;
  }
  [[noreturn]] void fail() const {
    if (found_.error == EAI_MEMORY) throw std::bad_alloc();
    const std::string why = found_.error == EAI_SYSTEM
                                ? std::generic_category().message(found_.system_error)
                                : ::gai_strerror(found_.error);
    throw IoError(Errc::unreachable, "the host name has no address: " + why);
  }

  /// In a forked child, which does not have the thread.
  void abandon() noexcept { finished_.close(); }

 private:
  const std::string host_;
  const std::uint16_t port_;
  const TimePoint begun_ = BootClock::now();
  EventFd finished_{};
  std::atomic<bool> is_finished_ = false;
  FoundAddresses found_{};
};

Resolver::Resolver(const Endpoint& endpoint)
    : host_(endpoint.host), port_(endpoint.port), fixed_(without_look_up(endpoint)) {}

SocketAddresses Resolver::addresses(TimePoint deadline, int cancel) {
  if (!fixed_.empty()) return fixed_;
  std::shared_ptr<const LookUp> look_up;
  SocketAddresses before;
  std::string why = "no look-up can be started";
  {
    const MutexLock lock(mutex_);
    try {
      look_up = this->look_up();
    } catch (const std::system_error& error) {
      why += ": " + error.code().message();
    }
    before = known();
  }
  if (look_up) {
    // Counted from the beginning of the look-up, so that one that hangs delays only its first
    // caller.
    const TimePoint begun = look_up->begun();
    const auto share = std::min<TimePoint::duration>(max_wait, (deadline - begun) / 4);
    const TimePoint until = before.empty() ? deadline : begun + share;
    if (look_up->wait(std::min(until, deadline), cancel)) {
      const MutexLock lock(mutex_);
      learn(*look_up);
      if (look_up->found().error == 0) {
        // A later look-up may have found none by now.
        SocketAddresses now = known();
        return now.empty() ? look_up->found().addresses : now;
      }
      if (before.empty() || look_up->is_an_answer()) look_up->fail();
    }
    why = "the host name could not be looked up within connect_timeout";
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
    auto look_up = std::make_shared<LookUp>(host_, port_);
    thread_without_signals([look_up] { look_up->run(); }).detach();
    under_way_ = std::move(look_up);
  }
  return under_way_;
}

/// Each caller that has waited for the look-up calls this; the first one has an effect.
void Resolver::learn(const LookUp& finished) {
  if (under_way_.get() != &finished) return;
  const std::shared_ptr<const LookUp> kept = std::exchange(under_way_, nullptr);
  if (finished.found().error != 0) {
    if (finished.is_an_answer()) known_.clear();
    return;
  }
  std::vector<Known> known;
  for (const SocketAddress& address : finished.found().addresses) {
    const Known* const before = find_known(address);
    known.push_back(before == nullptr ? Known{.address = address} : *before);
  }
  known_ = std::move(known);
}

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
