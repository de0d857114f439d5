#include "scripted_sentinel.hpp"

#include <thread>
#include <utility>

namespace redlatch::test {

ScriptedSentinel::ScriptedSentinel(std::uint16_t primary, std::string epoch)
    : primary_(std::to_string(primary)),
      epoch_(std::move(epoch)),
      other_(Sentinel{"10.0.0.9", "26379"}) {}

void ScriptedSentinel::learn(std::uint16_t primary, const std::string& epoch) {
  const auto hold = server_.hold();
  former_ = std::exchange(primary_, std::to_string(primary));
  epoch_ = epoch;
}

void ScriptedSentinel::know_no_other() {
  const auto hold = server_.hold();
  other_.reset();
}

void ScriptedSentinel::tell_of(const ScriptedSentinel& other) {
  {
    const auto hold = server_.hold();
    other_ = Sentinel{"127.0.0.1", other.port()};
    is_other_told_ = false;
  }
  tell("+sentinel", "sentinel f00 127.0.0.1 " + other.port() + " @ orders 127.0.0.1 " + primary_);
}

void ScriptedSentinel::tell_of_promotion() {
  tell("+promoted-slave",
       "slave 127.0.0.1:" + primary_ + " 127.0.0.1 " + primary_ + " @ orders 127.0.0.1 " + former_);
}

void ScriptedSentinel::tell_of_switch() {
  tell("+switch-master", "orders 127.0.0.1 " + former_ + " 127.0.0.1 " + primary_);
}

void ScriptedSentinel::tell_of_others() {
  std::string all;
  for (int i = 0; i < 500; ++i) {
    all += resp::array({resp::bulk("message"), resp::bulk("+sentinel"),
                        resp::bulk("sentinel f00 127.0.0.1 1 @ others 127.0.0.1 2")});
  }
  server_.say(subscriber_, all);
}

void ScriptedSentinel::tell(const char* channel, const std::string& message) {
  {
    const auto hold = server_.hold();
    if (!channels_.contains(channel)) return;
  }
  server_.say(subscriber_,
              resp::array({resp::bulk("message"), resp::bulk(channel), resp::bulk(message)}));
}

std::string ScriptedSentinel::answer(const ScriptedRequest& request) {
  if (request.is("PING")) {
    if (request.connection == lost_listener_) return {};
    if (request.connection == subscriber_) ++pings_;
    return resp::status("PONG");
  }
  if (request.is("SUBSCRIBE")) {
    if (refuses_subscriptions_) {
      return resp::error("NOPERM this user has no permissions to run the 'subscribe' command");
    }
    subscriber_ = request.connection;
    channels_.insert(request.words[1]);
    return resp::array({resp::bulk("subscribe"), resp::bulk(request.words[1]), resp::integer(1)});
  }
  if (request.is("SENTINEL")) return answer_to_question(request.words[1]);
  return resp::error("ERR unknown command");
}

std::string ScriptedSentinel::answer_to_question(std::string_view question) {
  std::this_thread::sleep_for(slowness_.load());
  if (lost_ > 0) {
    --lost_;
    return {};
  }
  if (has_forgotten_) return question == "MASTERS" ? resp::array({}) : resp::nil_array;
  if (question == "MASTER") return resp::array({resp::bulk("config-epoch"), resp::bulk(epoch_)});
  if (question == "SENTINELS") {
    is_other_told_ = true;
    if (!other_) return resp::array({});
    return resp::array({resp::array({resp::bulk("ip"), resp::bulk(other_->host), resp::bulk("port"),
                                     resp::bulk(other_->port)})});
  }
  return resp::array({resp::bulk("127.0.0.1"), resp::bulk(primary_)});
}

}  // namespace redlatch::test
