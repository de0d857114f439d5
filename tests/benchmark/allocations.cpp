// malloc(3) and its relatives for the whole program, as glibc lets a program do: they count and
// pass on.

#include "allocations.hpp"

#include <cstddef>

namespace {

thread_local constinit std::uint64_t count = 0;

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* memory, std::size_t size) noexcept;

void* malloc(std::size_t size) noexcept {
  ++count;
  return __libc_malloc(size);
}

void* calloc(std::size_t number, std::size_t size) noexcept {
  ++count;
  return __libc_calloc(number, size);
}

void* realloc(void* memory, std::size_t size) noexcept {
  ++count;
  return __libc_realloc(memory, size);
}

}  // extern "C"

namespace redlatch::benchmark {

std::uint64_t allocations_of_this_thread() noexcept { return count; }

}  // namespace redlatch::benchmark
