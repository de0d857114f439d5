#pragma once

#include <string>

namespace redlatch::detail {

/// A name of the calling thread, unique among all threads of all processes, forked children
/// included.
std::string thread_name();

}  // namespace redlatch::detail
