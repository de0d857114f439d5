#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <redlatch/detail/token_source.hpp>
#include <redlatch/token.hpp>

namespace redlatch {
namespace {

void draw(std::span<unsigned char> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      throw std::system_error(got == 0 ? EIO : errno, std::generic_category(),
                              "redlatch: the system gives no random numbers (getrandom)");
    }
  }
}

using Bytes = std::array<unsigned char, 16>;

/// Random bytes for the next tokens of one thread, so that a system call yields several. They are
/// on a page of their own, which the kernel fills with zeros in a child, whatever way it was
/// forked: the child finds an empty stock and not its parent's tokens.
struct Stock {
  static constexpr std::size_t capacity = 16;

  std::size_t left = 0;
  bool exists = true;  // false in a child
  std::array<Bytes, capacity> drawn{};
};

std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

/// Null where the kernel does not wipe pages: before Linux 4.14, or emulated. An emulator that
/// ignores all advice is found by an advice that does not exist, which it accepts.
Stock* new_stock() noexcept {
  const std::size_t size = page_size();
  void* const page =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  constexpr int no_advice = -1;
  if (::madvise(page, size, no_advice) == 0 || ::madvise(page, size, MADV_WIPEONFORK) != 0) {
    ::munmap(page, size);
    return nullptr;
  }
  ::madvise(page, size, MADV_DONTDUMP);
  return new (page) Stock;
}

/// The next bytes of a stock; false in a child, also in one that was forked by a signal's handler
/// in the middle of this.
bool take(Stock& stock, Bytes& bytes) {
  if (!stock.exists) return false;
  if (stock.left == 0) {
    draw({stock.drawn.front().data(), sizeof stock.drawn});
    stock.left = Stock::capacity;
  }
  // In a child that a signal's handler has forked at this point, `left` is 0. The remainder keeps
  // the index in range, and the second look at `exists` discards what was read.
  Bytes& next = stock.drawn[(stock.left - 1) % Stock::capacity];
  bytes = next;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (!stock.exists) return false;
  // A token is the right to release, so no second copy of it stays in memory.
  ::explicit_bzero(next.data(), next.size());
  --stock.left;
  return true;
}

/// Locks in static storage go after the main thread's own storage, so its end has to be known.
thread_local constinit bool thread_ends = false;
struct Spare {
  std::string text{};  // the memory of a token that is over: 36 bytes are more than a string holds
  Stock* stock = new_stock();
  Spare() = default;
  Spare(const Spare&) = delete;
  Spare& operator=(const Spare&) = delete;
  ~Spare() {
    thread_ends = true;
    if (stock != nullptr) ::munmap(stock, page_size());
  }
};
thread_local Spare spare;

Bytes next_bytes() {
  Bytes bytes{};
  if (!thread_ends && spare.stock != nullptr) {
    if (take(*spare.stock, bytes)) return bytes;
    new (spare.stock) Stock;  // this is a child, in which the page was wiped
    if (take(*spare.stock, bytes)) return bytes;
  }
  draw(bytes);
  return bytes;
}

}  // namespace

void detail::recycle_token(std::string token) noexcept {
  if (!thread_ends) spare.text = std::move(token);
}

std::uint_fast32_t detail::random_seed() {
  std::array<unsigned char, sizeof(std::uint32_t)> bytes{};
  draw(bytes);
  return std::bit_cast<std::uint32_t>(bytes);
}

std::string make_token() {
  Bytes bytes = next_bytes();
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
