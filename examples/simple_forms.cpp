// The locks that tutorials show, on bare hiredis, each with what it lacks. docs/simple-forms.md
// tells more.

#include <hiredis/hiredis.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/token.hpp>

namespace {

using namespace std::chrono_literals;
using Reply = std::unique_ptr<redisReply, void (*)(void*)>;
std::unique_ptr<redisContext, void (*)(redisContext*)> redis(nullptr, redisFree);

Reply say(const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  texts.reserve(words.size());
  for (const std::string& word : words) texts.push_back(word.c_str());
  Reply reply(static_cast<redisReply*>(redisCommandArgv(redis.get(), static_cast<int>(texts.size()),
                                                        texts.data(), nullptr)),
              freeReplyObject);
  if (reply == nullptr) throw std::runtime_error("no answer");
  return reply;
}

bool setnx_until(const std::string& key, std::chrono::steady_clock::time_point end) {
  while (say({"SETNX", key, "locked"})->integer == 0) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;  // until DEL, by any client
}

bool set_with_expiry(const std::string& key, const std::string& token) {
  return say({"SET", key, token, "NX", "PX", "10000"})->type == REDIS_REPLY_STATUS;
}

bool release_by_transaction(const std::string& key, const std::string& token) {
  say({"WATCH", key});
  const Reply holder = say({"GET", key});
  if (holder->str == nullptr || holder->str != token) {
    say({"UNWATCH"});
    return false;
  }
  say({"MULTI"});
  say({"DEL", key});
  return say({"EXEC"})->type == REDIS_REPLY_ARRAY;  // nil: it has changed since WATCH
}

bool release_by_script(const std::string& key, const std::string& token) {
  const char* compare_and_delete =
      "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0";
  return say({"EVAL", compare_and_delete, "1", key, token})->integer == 1;
}

bool all_work() {
  const std::string token = redlatch::make_token();
  const auto soon = [] { return std::chrono::steady_clock::now() + 20ms; };
  return setnx_until("simple", soon()) && !setnx_until("simple", soon()) &&
         say({"DEL", "simple"})->integer == 1 && set_with_expiry("simple", token) &&
         !set_with_expiry("simple", "another") && !release_by_transaction("simple", "another") &&
         release_by_transaction("simple", token) && set_with_expiry("simple", token) &&
         !release_by_script("simple", "another") && release_by_script("simple", token);
}

}  // namespace

int main() {
  const char* given = std::getenv("REDIS_URL");
  const std::string url = given != nullptr ? given : "redis://127.0.0.1:6379";
  redis.reset(redisConnect("127.0.0.1", std::stoi(url.substr(url.rfind(':') + 1))));
  if (redis == nullptr || redis->err != 0) return 1;
  const bool good = all_work();
  std::cout << (good ? "all four work, as long as nothing goes wrong\n" : "something is wrong\n");
  return good ? 0 : 1;
}
