// Runs a program with REDIS_URL set to a server of its own: with_server PROGRAM [ARGUMENT...]
// With --failover in front, to a primary behind Sentinels, which fails over while the program runs;
// with --cluster, to a cluster, which moves slots meanwhile.

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include "cluster.hpp"
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

int run_on_cluster(char** program) {
  Cluster cluster({.node_timeout = std::chrono::seconds(20)});
  const pid_t child = start(program, cluster.url());
  for (int customer = 0; customer < 60; customer += 5) {
    const unsigned slot = Cluster::slot_of("customer:" + std::to_string(customer));
    cluster.move_slot(slot, (*cluster.primary_of(slot) + 1) % 3);
  }
  return wait_for(child);
}

}  // namespace
}  // namespace redlatch::test

int main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  const bool fails_over = first == "--failover";
  const bool on_cluster = first == "--cluster";
  char** const program = argv + (fails_over || on_cluster ? 2 : 1);
  if (program >= argv + argc) {
    std::cerr << "usage: with_server [--failover | --cluster] PROGRAM [ARGUMENT...]\n";
    return 64;
  }
  try {
    if (on_cluster) return redlatch::test::run_on_cluster(program);
    return fails_over ? redlatch::test::run_across_failover(program) : redlatch::test::run(program);
  } catch (const std::exception& error) {
    std::cerr << "with_server: " << error.what() << '\n';
    return 1;
  }
}
