#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

namespace redlatch::detail {

/// Keeps a key on its connection. Each lease, each command that is queued or unanswered and each
/// open release has one, until nothing of it can reach the server any more.
class RoutePin {
 public:
  RoutePin() = default;
  RoutePin(const RoutePin& other) noexcept : slot_(other.slot_) {
    if (slot_ != nullptr) ++*slot_;
  }
  RoutePin(RoutePin&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  RoutePin& operator=(const RoutePin& other) noexcept { return *this = RoutePin(other); }
  RoutePin& operator=(RoutePin&& other) noexcept {
    RoutePin taken(std::move(other));
    std::swap(slot_, taken.slot_);
    return *this;
  }
  ~RoutePin() {
    if (slot_ == nullptr) return;
    [[maybe_unused]] const std::uint64_t before = (*slot_)--;
    assert((before & pins) > 0);
  }

 private:
  friend class Routes;
  using Slot = std::atomic<std::uint64_t>;

  static constexpr std::uint64_t pins = 0xFFFFFFFF;  // the half of a slot that counts them

  explicit RoutePin(Slot& pinned) noexcept : slot_(&pinned) {}

  Slot* slot_ = nullptr;
};

/// Which of a client's connections each key goes through. Commands about a key reach the server in
/// the order in which they were queued because all of them go through one connection: a release
/// that is not waited for is in front of the next acquisition, the cleanup of an acquisition in
/// doubt behind it, and no renewal behind the release. The key may move to another connection only
/// while it has no pin. Threads whose keys share a connection wait for each other, so an
/// acquisition may move its key from a busy connection to an idle one.
///
/// Keys with the same remainder of their hash share a slot, and so pins and connection. A slot is
/// one word, so there is no mutex, and in a forked child a pin of a thread that does not exist
/// there keeps the slot where it is, which does no harm.
class Routes {
 public:
  static constexpr std::size_t slots = 1024;

  explicit Routes(std::size_t connections) noexcept : connections_(connections) {
    for (std::size_t i = 0; i < slots; ++i) slots_[i] = word_of(first_connection(i));
  }

  /// The connection of the key, which is certain only while the key is pinned.
  std::size_t connection(std::string_view key) noexcept { return connection_in(slot_of(key)); }
  /// The connection of the key that the pin keeps there. The pin must not be empty.
  static std::size_t connection(const RoutePin& pin) noexcept { return connection_in(*pin.slot_); }

  /// Pins the key to the connection that it has now. `connection` is to be asked afterwards, as the
  /// key may have moved until then.
  RoutePin pin(std::string_view key) noexcept {
    Slot& slot = slot_of(key);
    ++slot;
    return RoutePin(slot);
  }
  /// Moves the key first, if it has no pin, `is_busy(its connection)`, and there is an idle one.
  template <class IsBusy>
  RoutePin move_and_pin(std::string_view key, const IsBusy& is_busy) {
    return choose_and_pin(slot_of(key), [&](std::size_t connection) {
      return is_busy(connection) ? idle_after(connection, is_busy) : connection;
    });
  }
  /// Moves the key back to the connection that it had at first, if it has no pin.
  RoutePin return_and_pin(std::string_view key) {
    Slot& slot = slot_of(key);
    const auto index = static_cast<std::size_t>(&slot - slots_.data());
    return choose_and_pin(slot, [&](std::size_t) { return first_connection(index); });
  }

 private:
  using Slot = RoutePin::Slot;  // the connection, and in the lower half the number of pins

  /// Maximum number of other connections that are looked at. With many connections, all of them
  /// busy, to look at each would cost more than the wait.
  static constexpr std::size_t max_looks = 3;

  static constexpr std::uint64_t word_of(std::size_t connection) noexcept {
    return std::uint64_t{connection} << 32U;
  }
  static constexpr std::size_t connection_in(std::uint64_t word) noexcept { return word >> 32U; }
  static constexpr std::uint64_t pins_in(std::uint64_t word) noexcept {
    return word & RoutePin::pins;
  }

  std::size_t first_connection(std::size_t slot) const noexcept { return slot % connections_; }
  Slot& slot_of(std::string_view key) noexcept {
    return slots_[std::hash<std::string_view>{}(key) % slots];
  }
  /// The first pin decides the connection, in the same step in which it pins: another thread that
  /// pins the key at this moment either comes first, and this one takes its connection, or finds
  /// the connection that was chosen here.
  template <class Choose>
  static RoutePin choose_and_pin(Slot& slot, const Choose& choose) {
    std::uint64_t word = slot;
    std::uint64_t pinned = 0;
    do {
      pinned = 1 + (pins_in(word) == 0 ? word_of(choose(connection_in(word))) : word);
    } while (!slot.compare_exchange_weak(word, pinned));
    return RoutePin(slot);
  }
  /// The same connection when there is none.
  template <class IsBusy>
  std::size_t idle_after(std::size_t connection, const IsBusy& is_busy) const {
    const std::size_t looks = std::min(max_looks, connections_ - 1);
    for (std::size_t i = 1; i <= looks; ++i) {
      const std::size_t other = (connection + i) % connections_;
      if (!is_busy(other)) return other;
    }
    return connection;
  }

  const std::size_t connections_;
  std::array<Slot, slots> slots_{};
};

}  // namespace redlatch::detail
