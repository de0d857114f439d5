#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>

namespace redlatch::benchmark {

/// An object that the processes forked during its life have in common with this one.
template <class T>
class Shared {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  Shared() {
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                          /*fd=*/-1, /*offset=*/0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    object_.reset(new (memory) T);
  }

  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_.get(); }

 private:
  struct Unmap {
    void operator()(T* object) const noexcept { ::munmap(object, sizeof(T)); }
  };

  std::unique_ptr<T, Unmap> object_{};
};

}  // namespace redlatch::benchmark
