#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

struct redisContext;
struct redisReply;

namespace redlatch::test {

struct RawReply {
  bool error = false;
  bool nil = false;
  std::int64_t integer = 0;
  std::string text{};  // of strings, statuses and errors
  std::vector<RawReply> elements{};
};

/// A client without redlatch in it, to look at the server and to meddle: blocking hiredis.
class RawClient {
 public:
  /// Over a Unix socket. Throws std::runtime_error, as all members do, when there is no connection.
  explicit RawClient(const std::string& socket);

  RawReply command(const std::vector<std::string>& words);
  /// What the server says next by itself, as after MONITOR or SUBSCRIBE.
  RawReply next();

  // What tests ask most. `get` is empty when there is no such key.
  std::string get(const std::string& key) { return command({"GET", key}).text; }
  bool exists(const std::string& key) { return command({"EXISTS", key}).integer == 1; }
  /// The server's clock.
  std::int64_t time_in_milliseconds();
  std::int64_t pttl(const std::string& key) { return command({"PTTL", key}).integer; }

  /// How often the server has run a command since it started or CONFIG RESETSTAT, from INFO
  /// commandstats; scripts' own commands are counted too.
  std::int64_t calls(const std::string& command_name) {
    return info("commandstats", "cmdstat_" + command_name + ":calls=");
  }
  /// How often the server has answered with this kind of error ("READONLY").
  std::int64_t errors(const std::string& kind) {
    return info("errorstats", "errorstat_" + kind + ":count=");
  }
  /// The number behind `label` in a section of INFO; 0 when it is not there.
  std::int64_t info(const std::string& section, const std::string& label);
  /// The ids of the clients with this name, which may be empty, from CLIENT LIST.
  std::vector<std::string> clients(const std::string& name);

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept;
  };
  std::unique_ptr<redisContext, Free> context_;
};

/// What the question gives, or nothing (false) where a connection is lost: a primary that becomes a
/// replica closes connections.
template <class Question>
auto answered(Question question) -> decltype(question()) {
  try {
    return question();
  } catch (const std::runtime_error&) {
    return {};
  }
}

}  // namespace redlatch::test
