// To jump from one stack to another is what glibc's checks take for an error.
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 0

#include "fiber.hpp"

#include <cxxabi.h>
#include <link.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace redlatch::test {
namespace {

constexpr std::size_t stack_size = 1 << 20;  // of which pages that are not touched take no memory
constexpr std::size_t guard_size = 1 << 12;

Fiber* entered = nullptr;  // while it begins

/// Where the program's `thread_local` variables are, all of them on the one real thread, and what
/// they are in a thread that begins. Those of shared libraries are not among them.
struct Variables {
  std::span<std::byte> present{};
  std::span<const std::byte> initial{};  // the rest is zero

  static const Variables& of_program() {
    static const Variables found = [] {
      Variables variables;
      ::dl_iterate_phdr(look, &variables);
      return variables;
    }();
    return found;
  }

 private:
  /// The program itself comes first.
  static int look(dl_phdr_info* object, std::size_t, void* result) {
    auto& variables = *static_cast<Variables*>(result);
    for (const ElfW(Phdr) & part : std::span(object->dlpi_phdr, object->dlpi_phnum)) {
      if (part.p_type != PT_TLS) continue;
      variables.present = {static_cast<std::byte*>(object->dlpi_tls_data), part.p_memsz};
      const auto address = object->dlpi_addr + part.p_vaddr;
      variables.initial = {reinterpret_cast<const std::byte*>(address), part.p_filesz};
    }
    return 1;
  }
};

/// Stacks that no fiber uses any more.
std::vector<void*> spare_stacks;

void* a_stack() {
  if (!spare_stacks.empty()) {
    void* const stack = spare_stacks.back();
    spare_stacks.pop_back();
    return stack;
  }
  void* const stack = ::mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED || ::mprotect(stack, guard_size, PROT_NONE) != 0) std::abort();
  return stack;
}

}  // namespace

ThreadStorage::ThreadStorage() : variables_(Variables::of_program().present.size()) {
  const std::span<const std::byte> initial = Variables::of_program().initial;
  if (!initial.empty()) std::memcpy(variables_.data(), initial.data(), initial.size());
}

ThreadStorage::Exceptions& ThreadStorage::exceptions_of_thread() {
  return *reinterpret_cast<Exceptions*>(abi::__cxa_get_globals());
}

void ThreadStorage::save() {
  error_ = errno;
  exceptions_ = exceptions_of_thread();
  std::memcpy(variables_.data(), Variables::of_program().present.data(), variables_.size());
}

void ThreadStorage::restore() const {
  std::memcpy(Variables::of_program().present.data(), variables_.data(), variables_.size());
  exceptions_of_thread() = exceptions_;
  errno = error_;
}

Fiber::Fiber(std::function<void()> work)
    : work_(std::move(work)), stack_(a_stack()), has_begun_(false) {}

Fiber::~Fiber() {
  if (stack_ != nullptr) spare_stacks.push_back(stack_);
}

void Fiber::switch_to(Fiber& next) {
  storage_.save();
  if (_setjmp(state_) == 0) next.go_on();
  storage_.restore();
}

void Fiber::go_on() {
  if (has_begun_) _longjmp(state_, 1);
  has_begun_ = true;
  entered = this;
  ucontext_t context{};
  ::getcontext(&context);
  context.uc_stack.ss_sp = stack_;
  context.uc_stack.ss_size = stack_size;
  ::makecontext(&context, enter, 0);
  ::setcontext(&context);
  std::abort();
}

void Fiber::enter() {
  Fiber& self = *entered;
  self.storage_.restore();
  self.work_();
  std::abort();
}

}  // namespace redlatch::test
