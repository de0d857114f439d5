#pragma once

#include "history_check.hpp"
#include "run.hpp"

namespace redlatch::test {

/// Finds resources that are free for long although they are waited for, and waiters that are passed
/// over again and again.
void check_waiters(const RunView& view, Findings& found);

}  // namespace redlatch::test
