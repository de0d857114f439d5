#pragma once

#include "base/mutex.hpp"

namespace redlatch::detail {

/// The mutex of a client's `WaitQueues`, as the thread-safety analysis knows it. It guards the
/// queues, the waiters in them and the grant listener, which refer to each other: the analysis
/// compares expressions, and does not see that `queues_.mutex_` of a waiter and `mutex_` of its
/// queues are one mutex. A function of each class returns the real mutex by this name. Never
/// defined, since nothing but the analysis uses it.
extern Mutex wait_mutex;

}  // namespace redlatch::detail
