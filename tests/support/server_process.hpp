#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "child.hpp"

namespace redlatch::test {

/// A process of the server's program, which is $REDLATCH_SERVER, else redis-server, else
/// valkey-server. It ends with the object, by process id, and with the test program.
class ServerProcess {
 public:
  /// Does not wait until it answers. Throws std::runtime_error when there is no such program.
  void start(std::vector<std::string> arguments);
  /// SIGKILL, and waits for its end.
  void kill() noexcept { process_.reset(); }
  /// SIGSTOP, and waits until it stands still.
  void pause() const {
    if (process_) process_->stop();
  }
  /// SIGCONT.
  void resume() const {
    if (process_) process_->go_on();
  }

  /// Whether it has ended by itself, or was never started.
  bool has_ended() const { return !process_ || process_->has_ended(); }
  /// Whether it has not ended and does not stand still.
  bool runs() const { return process_ && process_->runs(); }
  /// -1: it does not run.
  pid_t pid() const noexcept { return process_ ? process_->pid() : -1; }

 private:
  std::optional<Child> process_{};
};

}  // namespace redlatch::test
