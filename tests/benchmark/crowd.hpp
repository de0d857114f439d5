#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <vector>

namespace redlatch::benchmark {

/// Processes that were forked from this one, which must have no other thread. They end with the
/// object, by process id, and with this process.
class Crowd {
 public:
  /// Each calls `live` with its number, from 0 on, and ends, without destroying what it has in
  /// common with this process.
  Crowd(int processes, const std::function<void(int)>& live);
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd();

  /// Of all that they have used so far. Throws std::system_error when one has ended.
  std::chrono::nanoseconds cpu_time() const;
  /// Whether all have ended by themselves before `bound` is over, none by a signal.
  bool end_within(std::chrono::milliseconds bound);

 private:
  void kill_all() noexcept;

  std::vector<pid_t> running_{};
};

/// The processor time that all threads of a process have used, those that have ended included.
std::chrono::nanoseconds cpu_time_of(pid_t process);

}  // namespace redlatch::benchmark
