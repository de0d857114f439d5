#pragma once

#include <memory>
#include <string>

#include "child.hpp"
#include "redis_server.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {

/// twemproxy, whose program is `nutcracker`, in front of one server: on a Unix socket, with a
/// configuration of its own. It ends with the object, by process id, and with the test program.
class Nutcracker {
 public:
  /// Make it before there are threads. Throws std::runtime_error when it does not start.
  explicit Nutcracker(const RedisServer& server);

  std::string url() const { return "unix://" + socket(); }

 private:
  std::string socket() const { return directory_.path() + "/nutcracker.sock"; }
  bool answers() const;

  TemporaryDirectory directory_{};
  std::unique_ptr<Child> process_{};
};

}  // namespace redlatch::test
