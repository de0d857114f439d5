#pragma once

#include <string>

namespace redlatch::detail {

/// A name of the calling thread that no other thread has, in this or any other process; that of a
/// forked child is another.
std::string thread_name();

}  // namespace redlatch::detail
