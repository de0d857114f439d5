#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "scripted_server.hpp"

namespace redlatch::test {

/// A Sentinel of the service "orders" that says what a test wants: the primary, and another
/// Sentinel. It does not learn from others, as one that is cut off.
class ScriptedSentinel {
 public:
  /// It names the server at that port of 127.0.0.1, and one other Sentinel, on a host that there is
  /// not.
  explicit ScriptedSentinel(std::uint16_t primary, std::string epoch = "1");

  std::string url() const { return "redis-sentinel://127.0.0.1:" + port() + "#orders"; }
  std::string port() const { return server_.url().substr(server_.url().rfind(':') + 1); }
  std::size_t connections() const { return server_.connections(); }
  bool is_listened_to() const { return subscriber_ != 0; }
  /// The client has listened for a second, and asked whatever it asks as it begins to.
  bool is_pinged_by_listener() const { return pings_ > 0; }
  /// Of the client that listens, one a second. What it was told in front of the last but one, it
  /// has heard.
  std::size_t pings() const { return pings_; }

  /// From now on it names the server at that port.
  void learn(std::uint16_t primary, const std::string& epoch);
  void forget_service() { has_forgotten_ = true; }
  void know_no_other();
  /// From now on it knows the Sentinel at the port of `other`, and says so.
  void tell_of(const ScriptedSentinel& other);
  /// Whether a client has asked for it since then.
  bool has_told_of_other() const { return is_other_told_; }

  /// Of a failover between servers that there are not.
  void tell_of_failover() { tell("+switch-master", "orders 127.0.0.1 1 127.0.0.1 2"); }
  /// Both of the failover that it has learned of last.
  void tell_of_promotion();
  void tell_of_switch();
  /// So much of another service that its end is heard later than its begin, and what a socket holds
  /// that is not read.
  void tell_of_others();

  void hang_up() { server_.close_all(); }
  /// The client that listens gets nothing any more, as behind a network that is cut off.
  void lose_listener() { lost_listener_ = subscriber_.load(); }
  /// So many of the next connections get no answer to a question.
  void lose_questions(int connections) { lost_ = connections; }
  void refuse_subscriptions() { refuses_subscriptions_ = true; }
  /// It takes so long for each answer.
  void be_slow(std::chrono::milliseconds time) { slowness_ = time; }

 private:
  struct Sentinel {
    std::string host{};
    std::string port{};
  };

  void tell(const char* channel, const std::string& message);
  std::string answer(const ScriptedRequest& request);
  std::string answer_to_question(std::string_view question);

  std::string primary_;
  std::string epoch_;
  std::string former_{};
  std::optional<Sentinel> other_;
  std::atomic<bool> is_other_told_ = false;
  std::atomic<int> lost_ = 0;
  std::atomic<bool> refuses_subscriptions_ = false;
  std::atomic<bool> has_forgotten_ = false;
  std::atomic<std::chrono::milliseconds> slowness_{};
  std::atomic<std::size_t> pings_ = 0;
  std::set<std::string> channels_{};
  std::atomic<std::size_t> subscriber_ = 0;
  std::atomic<std::size_t> lost_listener_ = 0;
  ScriptedServer server_{[this](const ScriptedRequest& request) { return answer(request); }};
};

}  // namespace redlatch::test
