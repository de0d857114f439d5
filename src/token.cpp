#include <sys/random.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <redlatch/token.hpp>

namespace redlatch {
namespace {

template <std::size_t count>
std::array<unsigned char, count> random_bytes() {
  std::array<unsigned char, count> bytes{};
  for (std::size_t filled = 0; filled < bytes.size();) {
    const ssize_t got = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (got > 0) {
      filled += static_cast<std::size_t>(got);
    } else if (got == 0 || errno != EINTR) {
      throw std::system_error(got == 0 ? EIO : errno, std::generic_category(),
                              "redlatch: the system gives no random numbers (getrandom)");
    }
  }
  return bytes;
}

/// Locks in static storage go after the main thread's own storage, so its end has to be known.
thread_local constinit bool thread_ends = false;
struct Spare {
  std::string text{};
  Spare() = default;
  Spare(const Spare&) = delete;
  Spare& operator=(const Spare&) = delete;
  ~Spare() { thread_ends = true; }
};
thread_local Spare spare;

}  // namespace

void detail::recycle_token(std::string token) noexcept {
  if (!thread_ends) spare.text = std::move(token);
}

std::uint_fast32_t detail::random_seed() {
  return std::bit_cast<std::uint32_t>(random_bytes<sizeof(std::uint32_t)>());
}

std::string make_token() {
  auto bytes = random_bytes<16>();
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x40);  // version 4
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);  // variant of RFC 4122

  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  if (!thread_ends) text = std::exchange(spare.text, {});
  text.resize(36);
  auto next = text.begin();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *next++ = '-';
    *next++ = digits[bytes[i] >> 4];
    *next++ = digits[bytes[i] & 0x0F];
  }
  return text;
}

}  // namespace redlatch
