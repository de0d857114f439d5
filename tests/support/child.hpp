#pragma once

#include <sys/types.h>

#include <functional>

namespace redlatch::test {

/// A forked process that does some work. It ends with the object, by process id, and with the test
/// program.
class Child {
 public:
  /// Fork before there are threads. Throws std::system_error when there can be no process.
  explicit Child(const std::function<void()>& work);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { kill(); }

  /// SIGSTOP, and waits until it stands still.
  void stop() const;
  /// SIGCONT.
  void go_on() const;
  /// SIGTERM.
  void terminate() const;
  /// SIGKILL, and waits for its end.
  void kill() noexcept;
  /// Whether it has ended by itself.
  bool has_ended() const;
  /// Whether it has not ended and does not stand still.
  bool runs() const;
  /// -1 after its end was waited for.
  pid_t pid() const noexcept { return pid_; }
  /// Waits for its end: 0 when the work was done, 1 when it threw, -1 when a signal ended it. One
  /// that does not end within a minute is killed.
  int wait();

 private:
  pid_t pid_ = -1;
};

/// What the action returns in a forked child, 101 when it throws there, or -1 when the child
/// crashed or hung. There may be threads.
int in_child(const std::function<int()>& action);
/// The exit status of a child that ends within a minute, or -1 when it crashed or was killed then.
int status_of(pid_t child);

}  // namespace redlatch::test
