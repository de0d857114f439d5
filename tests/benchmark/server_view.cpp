#include "server_view.hpp"

#include <chrono>
#include <sstream>
#include <stdexcept>

#include "eventually.hpp"

namespace redlatch::benchmark {
namespace {

/// What follows `label` on its line.
std::string value(const std::string& text, const std::string& label) {
  const std::size_t at = text.find("\n" + label);
  if (at == std::string::npos) return {};
  const std::size_t from = at + 1 + label.size();
  return text.substr(from, text.find('\r', from) - from);
}

}  // namespace

std::string ServerView::version() {
  const std::string text = client_.command({"INFO", "server"}).text;
  const std::string valkey = value(text, "valkey_version:");
  return valkey.empty() ? "Redis " + value(text, "redis_version:") : "Valkey " + valkey;
}

Calls ServerView::calls() {
  static const std::string prefix = "cmdstat_";
  static const std::string label = ":calls=";
  std::istringstream lines(client_.command({"INFO", "commandstats"}).text);
  Calls calls;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = line.find(label);
    if (!line.starts_with(prefix) || end == std::string::npos) continue;
    const std::string name = line.substr(prefix.size(), end - prefix.size());
    if (name != "info" && name != "dbsize")
      calls[name] = std::stoll(line.substr(end + label.size()));
  }
  return calls;
}

void ServerView::wait_until_deserted() {
  using namespace std::chrono_literals;
  const auto keys = [&] { return client_.command({"DBSIZE"}).integer; };
  // Shorter than a ttl, so that a release that was never sent does not go unnoticed.
  if (test::eventually([&] { return keys() == 0 && connections() == 0; }, 3s)) return;
  throw std::runtime_error(std::to_string(keys()) + " locks and " + std::to_string(connections()) +
                           " connections were left behind");
}

}  // namespace redlatch::benchmark
