// Runs a program with REDIS_URL set to a server of its own: with_server PROGRAM [ARGUMENT...]
// With --failover in front, to a primary behind Sentinels, which fails over while the program runs.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include "redis_server.hpp"
#include "sentinel_trio.hpp"

namespace redlatch::test {
namespace {

pid_t start(char** program, const std::string& url) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setenv("REDIS_URL", url.c_str(), 1);
  ::execvp(program[0], program);
  ::_exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int run(char** program) {
  const RedisServer server;
  return wait_for(start(program, server.url()));
}

int run_across_failover(char** program) {
  SentinelTrio trio;
  const pid_t child = start(program, trio.url());
  const bool switched = trio.fail_over_from(0).has_value();
  const int status = wait_for(child);
  if (!switched) std::cerr << "with_server: there was no failover\n";
  return switched ? status : 1;
}

}  // namespace
}  // namespace redlatch::test

int main(int argc, char** argv) {
  const bool fails_over = argc > 1 && std::string_view(argv[1]) == "--failover";
  char** const program = argv + (fails_over ? 2 : 1);
  if (program >= argv + argc) {
    std::cerr << "usage: with_server [--failover] PROGRAM [ARGUMENT...]\n";
    return 64;
  }
  try {
    return fails_over ? redlatch::test::run_across_failover(program) : redlatch::test::run(program);
  } catch (const std::exception& error) {
    std::cerr << "with_server: " << error.what() << '\n';
    return 1;
  }
}
