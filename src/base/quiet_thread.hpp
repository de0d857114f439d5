#pragma once

#include <pthread.h>

#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

namespace redlatch::detail {

/// In a handler of exceptions: what the system had none of, a thread, a descriptor or memory.
inline std::error_code code_of_shortage() noexcept {
  try {
    throw;
  } catch (const std::system_error& error) {
    return error.code();
  } catch (...) {
    return make_error_code(std::errc::not_enough_memory);
  }
}

/// Starts a thread on which all signals are blocked, so that the program's handlers run on the
/// program's threads. Throws `std::system_error` when the system has no thread left.
///
/// A thread inherits the mask of its creator, which is set before it begins: if it blocked signals
/// itself, a handler could run on it in the moment before.
template <class Work>
std::thread thread_without_signals(Work work) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread thread(std::move(work));
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
}

}  // namespace redlatch::detail
