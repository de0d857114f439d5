#pragma once

#include <map>
#include <string>

#include "raw_client.hpp"
#include "server_view.hpp"

namespace redlatch::benchmark {

/// Who has sent a command: the server counts those that its scripts run as well, both in
/// commandstats and in total_commands_processed, and only MONITOR tells them apart. That slows the
/// server down: nothing is measured meanwhile.
class Monitor {
 public:
  explicit Monitor(const std::string& socket);

  /// How many of `calls`, counted at another time, clients have sent themselves: as large a share
  /// of each command as since the construction of this, and all of a command that was not heard.
  double sent_by_clients(const Calls& calls, ServerView& server);

 private:
  struct Heard {
    double from_clients = 0;
    double from_scripts = 0;
  };

  void hear(const std::string& line);

  test::RawClient client_;
  std::map<std::string, Heard> heard_{};
};

}  // namespace redlatch::benchmark
