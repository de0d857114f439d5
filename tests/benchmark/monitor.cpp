#include "monitor.hpp"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace redlatch::benchmark {

Monitor::Monitor(const std::string& socket) : client_(socket) {
  if (client_.command({"MONITOR"}).text != "OK") throw std::runtime_error("no MONITOR");
}

double Monitor::sent_by_clients(const Calls& calls, ServerView& server) {
  static const std::string last = "the bench has heard enough";
  server.say(last);
  for (std::string line; (line = client_.next().text).find(last) == std::string::npos;) hear(line);

  double sent = 0;
  for (const auto& [name, count] : calls) {
    // MONITOR has "client" for what is "client|setname" in commandstats.
    const auto found = heard_.find(name.substr(0, name.find('|')));
    const Heard heard = found == heard_.end() ? Heard{1, 0} : found->second;
    const double share = heard.from_clients / (heard.from_clients + heard.from_scripts);
    sent += share * static_cast<double>(count);
  }
  return sent;
}

// 1700000000.123456 [0 127.0.0.1:6379] "SET" "key" ...   or   [0 lua]
void Monitor::hear(const std::string& line) {
  const std::size_t begin = line.find("] \"");
  if (begin == std::string::npos) return;
  std::string name = line.substr(begin + 3, line.find('"', begin + 3) - begin - 3);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  Heard& heard = heard_[name];
  const bool script = line.compare(begin - 4, 4, " lua") == 0;
  ++(script ? heard.from_scripts : heard.from_clients);
}

}  // namespace redlatch::benchmark
