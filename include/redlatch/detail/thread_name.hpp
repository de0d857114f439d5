#pragma once

#include <string>

#include <redlatch/detail/export.hpp>

namespace redlatch::detail {

/// A name of the calling thread that no other thread has, in this or any other process; that of a
/// forked child is another.
REDLATCH_API std::string thread_name();

}  // namespace redlatch::detail
