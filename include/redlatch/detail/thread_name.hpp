#pragma once

#include <string>

namespace redlatch::detail {

/// A name of the calling thread, unique among all threads of all processes, forked children
/// included.
std::string thread_name();

/// The number of the calling thread, as the operating system shows it.
int thread_number() noexcept;
/// In a forked child, whose thread has another number.
void forget_thread_number() noexcept;

/// Says that this process holds the key that the calling thread wants, by the thread with this
/// number.
std::string held_by_thread(int number);

}  // namespace redlatch::detail
