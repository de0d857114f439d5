#include "bare_loop.hpp"

#include <hiredis/hiredis.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>

namespace redlatch::benchmark {
namespace {

struct FreeReply {
  void operator()(redisReply* reply) const noexcept { ::freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

template <std::size_t N>
Reply run(redisContext* context, const std::array<const char*, N>& words) {
  std::array<std::size_t, N> sizes{};
  for (std::size_t i = 0; i < N; ++i) sizes[i] = std::strlen(words[i]);
  auto words_copy = words;
  return Reply(static_cast<redisReply*>(
      ::redisCommandArgv(context, static_cast<int>(N), words_copy.data(), sizes.data())));
}

}  // namespace

void BareLoop::Free::operator()(redisContext* context) const noexcept { ::redisFree(context); }

BareLoop::BareLoop(const std::string& host, std::uint16_t port)
    : context_(::redisConnect(host.c_str(), port)) {
  load();
}

BareLoop::BareLoop(const std::string& socket) : context_(::redisConnectUnix(socket.c_str())) {
  load();
}

void BareLoop::load() {
  if (context_ == nullptr || context_->err != 0) throw std::runtime_error("cannot connect");
  const Reply reply = run<3>(context_.get(), {"SCRIPT", "LOAD", release_script});
  if (reply == nullptr || reply->type != REDIS_REPLY_STRING) throw std::runtime_error("no scripts");
  sha1_.assign(reply->str, reply->len);
}

bool BareLoop::acquire(const std::string& key, const std::string& token) {
  const Reply reply =
      run<6>(context_.get(), {"SET", key.c_str(), token.c_str(), "NX", "PX", "10000"});
  if (reply == nullptr || reply->type == REDIS_REPLY_ERROR) throw std::runtime_error("no answer");
  return reply->type == REDIS_REPLY_STATUS;
}

bool BareLoop::release(const std::string& key, const std::string& token) {
  const Reply reply =
      run<5>(context_.get(), {"EVALSHA", sha1_.c_str(), "1", key.c_str(), token.c_str()});
  return reply != nullptr && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
}

}  // namespace redlatch::benchmark
