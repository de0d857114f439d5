#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace redlatch::test {

/// Another program, spoken with by lines on its standard input and output. It ends with the object,
/// by process id.
class Process {
 public:
  /// The program's path and its arguments. Throws std::system_error when it cannot be run.
  explicit Process(std::vector<std::string> arguments);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  void write_line(const std::string& line);
  /// The next line without its end; nothing when the output is over, or after 60 s without one.
  std::optional<std::string> read_line();
  /// Says a line and returns the answer, or "" for none.
  std::string ask(const std::string& line);

  /// SIGSTOP and SIGCONT.
  void pause() const;
  void resume() const;
  /// SIGKILL, and waits for its end.
  void kill();
  /// Closes its input, and waits for its end: its exit status, or -1 when a signal ended it.
  int wait();

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string read_{};
};

}  // namespace redlatch::test
