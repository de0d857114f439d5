// Runs a program with REDIS_URL set to a server of its own: with_server PROGRAM [ARGUMENT...]

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "redis_server.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: with_server PROGRAM [ARGUMENT...]\n";
    return 64;
  }
  try {
    const redlatch::test::RedisServer server;
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("REDIS_URL", server.url().c_str(), 1);
      ::execvp(argv[1], argv + 1);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  } catch (const std::exception& error) {
    std::cerr << "with_server: " << error.what() << '\n';
    return 1;
  }
}
