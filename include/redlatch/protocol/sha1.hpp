#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace redlatch::protocol {

/// The SHA-1 of a text, as 40 lower-case hexadecimal digits: the name under which a server keeps a
/// script. Not for security.
/// Source: RFC 3174, section 6.1.
class Sha1 {
 public:
  constexpr explicit Sha1(std::string_view text) noexcept {
    std::size_t next = 0;
    // A block has 64 bytes. Behind the text come a byte 0x80, zeros, and the length in bits.
    const std::size_t blocks = (text.size() + 1 + 8 + 63) / 64;
    for (std::size_t block = 0; block < blocks; ++block) {
      std::array<std::uint32_t, 16> words{};
      for (std::uint32_t& word : words) {
        for (int i = 0; i < 4; ++i, ++next) word = word << 8 | byte(text, next);
      }
      if (block + 1 == blocks) {
        const std::uint64_t bits = std::uint64_t{text.size()} * 8;
        words[14] = static_cast<std::uint32_t>(bits >> 32);
        words[15] = static_cast<std::uint32_t>(bits);
      }
      add(words);
    }
    write_digits();
  }

  constexpr std::string_view digits() const noexcept { return {digits_.data(), digits_.size()}; }

 private:
  static constexpr std::uint32_t byte(std::string_view text, std::size_t i) noexcept {
    if (i < text.size()) return static_cast<unsigned char>(text[i]);
    return i == text.size() ? 0x80 : 0;
  }

  constexpr void add(std::array<std::uint32_t, 16>& words) noexcept {
    auto [a, b, c, d, e] = state_;
    for (std::size_t t = 0; t < 80; ++t) {
      std::uint32_t& word = words[t % 16];
      if (t >= 16) {
        word =
            std::rotl(words[(t + 13) % 16] ^ words[(t + 8) % 16] ^ words[(t + 2) % 16] ^ word, 1);
      }
      std::uint32_t mixed = 0;
      if (t < 20) {
        mixed = ((b & c) | (~b & d)) + 0x5A827999;
      } else if (t < 40) {
        mixed = (b ^ c ^ d) + 0x6ED9EBA1;
      } else if (t < 60) {
        mixed = ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
      } else {
        mixed = (b ^ c ^ d) + 0xCA62C1D6;
      }
      const std::uint32_t next = std::rotl(a, 5) + mixed + e + word;
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    const std::array<std::uint32_t, 5> sum{a, b, c, d, e};
    for (std::size_t i = 0; i < sum.size(); ++i) state_[i] += sum[i];
  }

  constexpr void write_digits() noexcept {
    constexpr std::string_view names = "0123456789abcdef";
    for (std::size_t i = 0; i < digits_.size(); ++i) {
      digits_[i] = names[state_[i / 8] >> (28 - 4 * (i % 8)) & 0xF];
    }
  }

  std::array<std::uint32_t, 5> state_{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  std::array<char, 40> digits_{};
};

}  // namespace redlatch::protocol
