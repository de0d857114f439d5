#pragma once

#include <csetjmp>
#include <cstddef>
#include <functional>
#include <vector>

namespace redlatch::test {

/// What a real thread has of its own: the variables of the program that are `thread_local`,
/// `errno`, and what the C++ runtime knows of exceptions.
class ThreadStorage {
 public:
  /// As that of a thread that begins.
  ThreadStorage();

  /// Takes what the real thread has.
  void save();
  /// Gives it to the real thread.
  void restore() const;

 private:
  struct Exceptions {  // see __cxa_eh_globals in the Itanium C++ ABI
    void* caught = nullptr;
    unsigned int uncaught = 0;
  };
  static Exceptions& exceptions_of_thread();

  std::vector<std::byte> variables_;
  Exceptions exceptions_{};
  int error_ = 0;
};

/// A thread without the system's help: a stack and a thread's storage, between which a real thread
/// switches. A switch takes no system call, and the machine's load has no part in it.
class Fiber {
 public:
  /// The calling thread itself, which others can switch back to.
  Fiber() = default;
  /// Runs `work` on a stack of its own once it is switched to. `work` must not return: it ends by
  /// switching to another one for good.
  explicit Fiber(std::function<void()> work);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// This one, which runs, waits until it is switched to again; `next` goes on.
  void switch_to(Fiber& next);

 private:
  [[noreturn]] void go_on();
  static void enter();

  std::function<void()> work_{};
  void* stack_ = nullptr;
  bool has_begun_ = true;
  std::jmp_buf state_{};
  ThreadStorage storage_{};
};

}  // namespace redlatch::test
