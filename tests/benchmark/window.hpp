#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server_view.hpp"

namespace redlatch::benchmark {

/// What a thread does again and again, with a key of its own. Both throw when the lock is not to be
/// had, or was lost.
class Worker {
 public:
  Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  virtual ~Worker() = default;

  virtual void acquire() = 0;
  virtual void release() = 0;
};

/// One worker for each thread.
using Team = std::vector<std::unique_ptr<Worker>>;

/// What one measurement found, by the names in results.hpp; "calls:set" and so on for the commands
/// that the server ran, per cycle.
using Sample = std::map<std::string, double>;

struct Window {
  std::chrono::milliseconds warm_up;
  std::chrono::milliseconds measured;
};

/// Lets all of a team cycle at the same time, in threads that have ended when it returns. Throws
/// what a worker threw.
Sample run(const Team& team, const Window& window, ServerView& server);

/// Puts the commands that the server has run between two looks into the sample, per cycle.
void add_calls(Sample& sample, const Calls& before, const Calls& after, double cycles);

}  // namespace redlatch::benchmark
