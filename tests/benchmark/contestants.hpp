#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <redlatch/options.hpp>

#include "redis_server.hpp"
#include "window.hpp"

namespace redlatch::benchmark {

/// Under what conditions a measurement is made.
struct Scenario {
  std::string suite{};
  bool unix_socket = false;
  int threads = 1;      // in each process
  bool pinned = false;  // client and server to one core
  int processes = 1;
  std::chrono::milliseconds section{0};  // how long a lock is held

  bool operator==(const Scenario&) const = default;

  std::string transport() const { return unix_socket ? "Unix socket" : "TCP"; }
  std::string cores() const { return pinned ? "pinned to one core" : "unpinned"; }
  /// "64 threads", "32 processes" or "4 processes of 8 threads"
  std::string layout() const;
  std::string sections() const;
  /// "engine, TCP, 64 threads, unpinned"
  std::string title() const;
};

/// The server, and how long to look.
struct Setting {
  const test::RedisServer& server;
  ServerView& view;
  Window window;
};

/// One way to take and to release locks.
struct Contestant {
  std::string name;
  std::function<Sample(const Scenario&, const Setting&)> measure;
};

/// What the others are compared to: bare hiredis, a connection for each thread.
Contestant bare();

/// Its `{ Lock lock(client, key); }`, a client being shared by all threads.
Contestant guard(std::string name = "guard", ClientOptions options = {});

/// Its `lock()` and `unlock()`, whose answer is waited for; a client being shared by all threads.
Contestant unlock(std::string name = "unlock", ClientOptions options = {});

/// What a user of Python has instead; one thread.
Contestant redis_py();

inline const std::string baseline = "bare hiredis";

}  // namespace redlatch::benchmark
