#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include "contestants.hpp"

namespace redlatch::benchmark {
namespace {

std::string output_of(const std::string& command) {
  struct Close {
    void operator()(std::FILE* pipe) const noexcept { ::pclose(pipe); }
  };
  std::unique_ptr<std::FILE, Close> pipe(::popen(command.c_str(), "re"));
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::string text;
  for (int letter = 0; (letter = std::fgetc(pipe.get())) != EOF;) {
    text.push_back(static_cast<char>(letter));
  }
  if (::pclose(pipe.release()) != 0) throw std::runtime_error("failed: " + command);
  return text;
}

std::string command_for(const Scenario& scenario, const Setting& setting) {
  const auto seconds = [](std::chrono::milliseconds time) {
    return std::to_string(std::chrono::duration<double>(time).count());
  };
  return "/usr/bin/python3 '" REDLATCH_REDIS_PY_LOOP "' '" +
         (scenario.unix_socket ? "unix://" + setting.server.socket() : setting.server.url()) +
         "' " + seconds(setting.window.warm_up) + " " + seconds(setting.window.measured);
}

}  // namespace

Contestant redis_py() {
  return {"redis-py", [](const Scenario& scenario, const Setting& setting) {
            const Calls before = setting.view.calls();
            std::istringstream lines(output_of(command_for(scenario, setting)));
            Sample sample;
            double cycles = 0;
            lines >> cycles;
            std::string name;
            for (double value = 0; lines >> name >> value;) sample[name] = value;
            add_calls(sample, before, setting.view.calls(), cycles);
            return sample;
          }};
}

}  // namespace redlatch::benchmark
