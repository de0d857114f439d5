#include "raw_client.hpp"

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace redlatch::test {
namespace {

RawReply read(const redisReply& reply) {
  RawReply result;
  result.error = reply.type == REDIS_REPLY_ERROR;
  result.nil = reply.type == REDIS_REPLY_NIL;
  if (reply.type == REDIS_REPLY_INTEGER) result.integer = reply.integer;
  if (reply.str != nullptr) result.text.assign(reply.str, reply.len);
  for (std::size_t i = 0; i < reply.elements; ++i) {
    result.elements.push_back(read(*reply.element[i]));
  }
  return result;
}

RawReply taken(void* raw) {
  auto* reply = static_cast<redisReply*>(raw);
  RawReply result = read(*reply);
  ::freeReplyObject(reply);
  return result;
}

}  // namespace

void RawClient::Free::operator()(redisContext* context) const noexcept { ::redisFree(context); }

RawClient::RawClient(const std::string& socket) {
  constexpr timeval patience{.tv_sec = 20, .tv_usec = 0};
  context_.reset(::redisConnectUnixWithTimeout(socket.c_str(), patience));
  if (context_ == nullptr || context_->err != 0) {
    throw std::runtime_error("cannot connect to " + socket);
  }
  ::redisSetTimeout(context_.get(), patience);
}

RawReply RawClient::command(const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  void* reply = ::redisCommandArgv(context_.get(), static_cast<int>(words.size()), texts.data(),
                                   sizes.data());
  if (reply == nullptr) throw std::runtime_error(words.front() + ": " + context_->errstr);
  return taken(reply);
}

RawReply RawClient::next() {
  void* reply = nullptr;
  if (::redisGetReply(context_.get(), &reply) != REDIS_OK) {
    throw std::runtime_error(std::string("nothing is said: ") + context_->errstr);
  }
  return taken(reply);
}

std::int64_t RawClient::time_in_milliseconds() {
  const RawReply time = command({"TIME"});
  return std::stoll(time.elements[0].text) * 1000 + std::stoll(time.elements[1].text) / 1000;
}

std::int64_t RawClient::info(const std::string& section, const std::string& label) {
  const std::string text = command({"INFO", section}).text;
  const std::size_t at = text.find("\n" + label);
  if (at == std::string::npos) return 0;
  return std::strtoll(text.c_str() + at + 1 + label.size(), nullptr, 10);
}

std::vector<std::string> RawClient::clients(const std::string& name) {
  std::istringstream lines(command({"CLIENT", "LIST"}).text);
  std::vector<std::string> ids;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" name=" + name + " ") == std::string::npos) continue;
    ids.push_back(line.substr(3, line.find(' ') - 3));
  }
  return ids;
}

}  // namespace redlatch::test
