#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace redlatch::test {

/// A process of the server's program, which is $REDLATCH_SERVER, else redis-server, else
/// valkey-server. It ends with the object, by process id, and with the test program.
class ServerProcess {
 public:
  ServerProcess() = default;
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() { kill(); }

  /// Does not wait until it answers. Throws std::runtime_error when there is no such program.
  void start(std::vector<std::string> arguments);
  /// SIGKILL, and waits for its end.
  void kill() noexcept;
  /// SIGSTOP, and waits until it stands still.
  void pause() const;
  /// SIGCONT.
  void resume() const;

  /// Whether it has ended by itself, or was never started.
  bool has_ended() const;
  /// Whether it has not ended and does not stand still.
  bool runs() const;

 private:
  pid_t pid_ = -1;
};

}  // namespace redlatch::test
