#pragma once

#include <sched.h>
#include <sys/types.h>

namespace redlatch::benchmark {

/// This thread and a server of ours on one core, until the end of the scope: what `taskset -c 0`
/// does to both. Threads and programs that this thread starts meanwhile are there too.
class Pinned {
 public:
  explicit Pinned(pid_t server);
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned();

 private:
  pid_t server_;
  cpu_set_t before_{};
};

}  // namespace redlatch::benchmark
