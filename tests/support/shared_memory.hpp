#pragma once

#include <sys/mman.h>

#include <new>

namespace redlatch::test {

/// One object that this process and the children it forks see alike.
template <class Content>
class SharedMemory {
 public:
  SharedMemory()
      : memory_(::mmap(nullptr, sizeof(Content), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    ::new (memory_) Content();
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(memory_, sizeof(Content)); }

  Content* operator->() const { return std::launder(static_cast<Content*>(memory_)); }
  Content& operator*() const { return *operator->(); }

 private:
  void* memory_;
};

}  // namespace redlatch::test
