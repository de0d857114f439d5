#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <system_error>
#include <utility>

namespace redlatch::test {

Process::Process(std::vector<std::string> arguments) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  // Sockets, since writing to one whose reader is gone can be told to raise no signal.
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data()) != 0 ||
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out.data()) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[1], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[1]);
  ::close(out[1]);
  input_ = in[0];
  output_ = out[0];
  if (error != 0) throw std::system_error(error, std::generic_category(), arguments.front());
}

Process::~Process() {
  kill();
  ::close(output_);
}

void Process::write_line(const std::string& line) {
  const std::string bytes = line + '\n';
  static_cast<void>(::send(input_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

std::optional<std::string> Process::read_line() {
  constexpr int patience = 60'000;
  for (;;) {
    if (const std::size_t end = read_.find('\n'); end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    pollfd readable{.fd = output_, .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, patience) <= 0) return std::nullopt;
    std::array<char, 256> room{};
    const ssize_t count = ::recv(output_, room.data(), room.size(), 0);
    if (count <= 0) return std::nullopt;
    read_.append(room.data(), static_cast<std::size_t>(count));
  }
}

std::string Process::ask(const std::string& line) {
  write_line(line);
  return read_line().value_or("");
}

void Process::pause() const { ::kill(pid_, SIGSTOP); }

void Process::resume() const { ::kill(pid_, SIGCONT); }

void Process::kill() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  wait();
}

int Process::wait() {
  if (const int input = std::exchange(input_, -1); input >= 0) ::close(input);
  if (pid_ <= 0) return -1;
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace redlatch::test
