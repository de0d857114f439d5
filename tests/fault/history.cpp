#include "history.hpp"

#include <sys/mman.h>

#include <new>

namespace redlatch::test {

std::string key_of(std::string_view name) { return "{locks}:" + std::string(name); }
std::string key_of(std::size_t number) { return key_of(std::to_string(number)); }

History::History() {
  // Pages that were never written to are zero, and so is an attempt of which nothing is known.
  void* memory = ::mmap(nullptr, room * sizeof(Attempt), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  attempts_ = static_cast<Attempt*>(memory);
}

History::~History() { ::munmap(attempts_, room * sizeof(Attempt)); }

}  // namespace redlatch::test
