#include "failover_history.hpp"

#include <sys/mman.h>

#include <new>

namespace redlatch::test {

History::History() {
  // Pages that were never written to are zero, and so is an attempt of which nothing is known.
  void* memory = ::mmap(nullptr, room * sizeof(Attempt), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  attempts_ = static_cast<Attempt*>(memory);
}

History::~History() { ::munmap(attempts_, room * sizeof(Attempt)); }

}  // namespace redlatch::test
