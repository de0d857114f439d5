#include "net/detached_call.hpp"

#include "base/quiet_thread.hpp"

namespace redlatch::detail {

void run_detached(std::function<void()> work) {
  thread_without_signals([work = std::move(work)] { work(); }).detach();
}

}  // namespace redlatch::detail
