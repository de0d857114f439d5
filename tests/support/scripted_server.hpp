#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace redlatch::test {

/// One command as it was read, with the number of the connection it came on, from 1.
struct ScriptedRequest {
  std::size_t connection = 0;
  std::vector<std::string> words{};

  const std::string& name() const { return words.front(); }
  bool is(std::string_view name) const { return words.front() == name; }
};

/// What looks like a server to a client and says what a test wants it to: on a free loopback port
/// or on a Unix socket. One thread of its own serves all connections.
class ScriptedServer {
 public:
  /// The bytes to answer with; empty: silence. Called on the server's thread, for one request after
  /// the other.
  using Handler = std::function<std::string(const ScriptedRequest&)>;

  explicit ScriptedServer(Handler handler, std::string unix_path = {});
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  ~ScriptedServer();

  std::string url() const {
    return unix_path_.empty() ? "redis://127.0.0.1:" + std::to_string(port_)
                              : "unix://" + unix_path_;
  }

  /// As long as the result lives, no handler runs: for tests that change what handlers look at.
  std::unique_lock<std::mutex> hold() { return std::unique_lock(handling_); }
  /// For handlers: the connection ends once the answer has been sent.
  void close_after_answer() { closing_ = true; }
  /// Sends bytes to a connection that are no answer. May be called by any thread.
  void say(std::size_t connection, std::string_view bytes);
  /// Ends every connection.
  void close_all();

  std::vector<ScriptedRequest> requests() const;
  /// How many requests with this name there were.
  std::size_t count(std::string_view name) const;
  /// How many connections were made so far.
  std::size_t connections() const;

 private:
  struct Link {
    int fd = -1;
    std::string received{};
  };

  void run();
  void accept_one();
  bool serve(std::size_t number, Link& link);

  const Handler handler_;
  const std::string unix_path_;
  std::uint16_t port_ = 0;  // set by the listener's initialiser
  int listener_;
  int wake_up_;
  bool closing_ = false;  // of the server's thread

  std::mutex handling_{};
  mutable std::mutex mutex_{};
  std::map<std::size_t, Link> links_{};
  std::vector<ScriptedRequest> requests_{};
  std::size_t accepted_ = 0;
  bool stop_ = false;
  std::thread thread_{};
};

/// Answers in RESP2.
namespace resp {

inline const std::string ok = "+OK\r\n";
inline const std::string nil = "$-1\r\n";
inline const std::string nil_array = "*-1\r\n";

inline std::string line(char kind, std::string_view text) {
  std::string out(1, kind);
  return out.append(text).append("\r\n");
}
inline std::string status(std::string_view text) { return line('+', text); }
inline std::string error(std::string_view text) { return line('-', text); }
inline std::string integer(long long number) { return line(':', std::to_string(number)); }
inline std::string bulk(std::string_view text) {
  return line('$', std::to_string(text.size())).append(text).append("\r\n");
}
inline std::string array(const std::vector<std::string>& elements) {
  std::string out = line('*', std::to_string(elements.size()));
  for (const std::string& element : elements) out += element;
  return out;
}

}  // namespace resp

}  // namespace redlatch::test
