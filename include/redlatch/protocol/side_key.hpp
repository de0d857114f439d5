#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

/// The names of a lock's further keys. Such a name is in the slot of the lock's own key, so that a
/// Redis Cluster takes both in one script; begins with that key, so that ACL patterns by prefix
/// cover both; and contains "redlatch", so that it collides neither with a program's key nor with
/// another lock's. Source: redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec, "hash
/// tags".
namespace redlatch::protocol {

inline constexpr unsigned slots = 16384;  // of a cluster

/// The contribution of each byte to a `checksum`.
inline constexpr std::array<std::uint16_t, 256> checksum_table = [] {
  constexpr unsigned polynomial = 0x1021;
  std::array<std::uint16_t, 256> table{};
  for (unsigned byte = 0; byte < table.size(); ++byte) {
    unsigned sum = byte << 8U;
    for (int bit = 0; bit < 8; ++bit) sum = (sum << 1U) ^ ((sum & 0x8000U) != 0 ? polynomial : 0U);
    table[byte] = static_cast<std::uint16_t>(sum);
  }
  return table;
}();

/// The checksum whose remainder by `slots` is the slot of a text. `before` is the checksum of what
/// precedes the text, if anything does.
/// Source: the cluster specification, "appendix A: CRC16 reference implementation".
constexpr std::uint16_t checksum(std::string_view text, std::uint16_t before = 0) noexcept {
  unsigned sum = before;
  for (const char c : text) {
    const unsigned byte = (sum >> 8U) ^ static_cast<unsigned char>(c);
    sum = ((sum << 8U) ^ checksum_table[byte]) & 0xFFFFU;
  }
  return static_cast<std::uint16_t>(sum);
}
static_assert(checksum("123456789") == 0x31C3);

/// The part of a key that decides its slot: its hash tag, if it has one, else all of it.
constexpr std::string_view hashed_part(std::string_view key) noexcept {
  const auto opens = key.find('{');
  const auto closes = key.find('}', opens);
  const bool has_tag =
      opens != std::string_view::npos && closes != std::string_view::npos && closes > opens + 1;
  return has_tag ? key.substr(opens + 1, closes - opens - 1) : key;
}
/// The slot of a key in a cluster.
constexpr std::size_t slot_of(std::string_view key) noexcept {
  return checksum(hashed_part(key)) % slots;
}
static_assert(slot_of("{user1000}.following") == slot_of("user1000") &&
              slot_of("foo{}{bar}") != slot_of("bar"));

/// Digits that move a text to any slot: as many zeros and ones at its end as a slot has bits. A one
/// in place of a zero flips the same bits of the checksum, whatever the text is.
class SlotDigits {
 public:
  static constexpr std::size_t count = 14;
  using Digits = std::array<char, count>;

  /// The digits that move a text with this checksum to the slot of another text.
  static constexpr Digits from_to(std::uint16_t text, std::uint16_t other) noexcept {
    const Digits zeros = digits(0);
    const unsigned wrong = checksum({zeros.data(), count}, text) ^ other;
    unsigned ones = 0;
    for (std::size_t bit = 0; bit < count; ++bit) {
      if (((wrong >> bit) & 1U) != 0) ones ^= ones_for(bit);
    }
    return digits(ones);
  }

 private:
  static constexpr Digits digits(unsigned ones) noexcept {
    Digits all{};
    for (std::size_t i = 0; i < count; ++i) all[i] = ((ones >> i) & 1U) != 0 ? '1' : '0';
    return all;
  }

  /// For each bit of the slot, which digits have to be ones to flip it and no other bit: by
  /// Gaussian elimination.
  static consteval std::array<unsigned, count> solve() {
    struct Row {
      unsigned flipped;  // bits of the slot
      unsigned ones;     // the digits that flip them
    };
    std::array<Row, count> rows{};
    const auto sum = [](unsigned ones) {
      const Digits all = digits(ones);
      return checksum({all.data(), count}) % slots;
    };
    for (std::size_t i = 0; i < count; ++i) rows[i] = {sum(1U << i) ^ sum(0), 1U << i};
    for (std::size_t bit = 0; bit < count; ++bit) {
      std::size_t pivot = bit;
      while (((rows.at(pivot).flipped >> bit) & 1U) == 0) ++pivot;
      std::swap(rows[bit], rows[pivot]);
      for (std::size_t i = 0; i < count; ++i) {
        if (i == bit || ((rows[i].flipped >> bit) & 1U) == 0) continue;
        rows[i].flipped ^= rows[bit].flipped;
        rows[i].ones ^= rows[bit].ones;
      }
    }
    std::array<unsigned, count> ones{};
    for (std::size_t bit = 0; bit < count; ++bit) ones[bit] = rows[bit].ones;
    return ones;
  }
  static constexpr unsigned ones_for(std::size_t bit) noexcept {
    constexpr std::array<unsigned, count> solved = solve();
    return solved[bit];
  }
};

/// The name of a further key, in pieces:
/// - `order:redlatch:queue:{order}`, with the whole key as the hash tag;
/// - `{order}:redlatch:queue` for a key with a hash tag of its own;
/// - `a}b:redlatch:queue:11010010110101` for a key with braces that make no hash tag: it cannot be
///   repeated in one, so digits move the name to its slot.
class SideKey {
 public:
  SideKey(std::string_view key, std::string_view purpose) noexcept
      : pieces_{key, ":redlatch:", purpose} {
    if (hashed_part(key).size() < key.size()) return;
    if (key.find_first_of("{}") == std::string_view::npos) {
      pieces_[3] = ":{";
      pieces_[4] = key;
      pieces_[5] = "}";
      return;
    }
    pieces_[3] = ":";
    std::uint16_t sum = 0;
    for (const std::string_view piece : pieces_) sum = checksum(piece, sum);
    digits_ = SlotDigits::from_to(sum, checksum(key));
    pieces_[4] = {digits_.data(), digits_.size()};
  }
  SideKey(const SideKey&) = delete;
  SideKey& operator=(const SideKey&) = delete;
  ~SideKey() = default;

  std::span<const std::string_view> pieces() const& noexcept { return pieces_; }
  std::span<const std::string_view> pieces() && = delete;

 private:
  SlotDigits::Digits digits_{};
  std::array<std::string_view, 6> pieces_;
};

inline std::string side_key(std::string_view key, std::string_view purpose) {
  const SideKey pieces(key, purpose);
  std::string name;
  for (const std::string_view piece : pieces.pieces()) name += piece;
  return name;
}

}  // namespace redlatch::protocol
