#include "net/reply_reader.hpp"

// The build names the header of the hiredis that is linked: <hiredis/read.h> may be another's.
#ifdef REDLATCH_HIREDIS_READ_H
#include REDLATCH_HIREDIS_READ_H
#else
#include <hiredis/read.h>
#endif

#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "base/io_error.hpp"

namespace redlatch::detail {
namespace {

using protocol::Reply;

// No answer to a command of ours comes near these. An answer is counted from its first byte on, so
// that one of many pieces ends, too.
constexpr std::size_t max_bytes = std::size_t{1} << 20;
constexpr std::size_t max_elements = std::size_t{1} << 16;
// Of arrays in arrays, as in hiredis 0.14. From 1.0 on, hiredis has no limit, and the end of a
// reply that is 250,000 deep would use up the stack.
constexpr std::size_t max_depth = 7;

ReplyTarget& target_of(const redisReadTask* task) {
  return *static_cast<ReplyTarget*>(task->privdata);
}

/// Where the reply that is being read belongs: the root, or its place in the array around it.
Reply& place_of(const redisReadTask* task) {
  if (task->parent == nullptr) return target_of(task).root;
  auto& parent = *static_cast<Reply*>(task->parent->obj);
  // Elements come in order, each when the one before is whole, so no task points into the vector
  // when it grows.
  const auto index = static_cast<std::size_t>(task->idx);
  if (index == parent.elements.size()) parent.elements.emplace_back();
  return parent.elements.at(index);
}

/// Null tells the reader that memory is short; an exception must not pass through C.
template <class Fill>
void* fill(const redisReadTask* task, Reply::Kind kind, Fill how) noexcept {
  try {
    Reply& reply = place_of(task);
    reply = Reply{.kind = kind};
    how(reply);
    return &reply;
  } catch (const std::exception&) {
    return nullptr;
  }
}

void* create_string(const redisReadTask* task, char* text, std::size_t size) noexcept {
  const Reply::Kind kind = task->type == REDIS_REPLY_ERROR    ? Reply::Kind::error
                           : task->type == REDIS_REPLY_STATUS ? Reply::Kind::status
                                                              : Reply::Kind::string;
  return fill(task, kind, [&](Reply& reply) { reply.text.assign(text, size); });
}

void* create_integer(const redisReadTask* task, long long number) noexcept {
  return fill(task, Reply::Kind::integer, [&](Reply& reply) { reply.integer = number; });
}

void* create_nil(const redisReadTask* task) noexcept {
  return fill(task, Reply::Kind::nil, [](Reply&) {});
}

bool is_too_deep(const redisReadTask* task) noexcept {
  std::size_t depth = 0;
  for (; task != nullptr && depth <= max_depth; task = task->parent) ++depth;
  return depth > max_depth;
}

// The second parameter is an int up to hiredis 0.14 and a size_t from 1.0 on.
template <class Count>
void* create_array(const redisReadTask* task, Count count) noexcept {
  const auto size = static_cast<std::size_t>(count);
  if (size > max_elements || is_too_deep(task)) {
    target_of(task).is_too_long = true;
    return nullptr;
  }
  // The size is only what the server claims: memory is taken for elements that have come.
  return fill(task, Reply::Kind::array, [](Reply&) {});
}

redisReplyObjectFunctions make_functions() {
  redisReplyObjectFunctions functions{};  // RESP3's kinds, in newer versions, stay null: not wanted
  functions.createString = create_string;
  functions.createArray = create_array;
  functions.createInteger = create_integer;
  functions.createNil = create_nil;
  functions.freeObject = [](void*) {};  // every reply is a part of the root
  return functions;
}

/// Whether the library that made `reader` is of the header's version. Versions 0.x and 1.x differ
/// behind `maxbuf`: a new reader of 1.x has a limit there that is not zero, and one of 0.x has
/// tasks that are. Only when these agree is a reader as long as the header says.
template <class Reader>
bool fits_header(const Reader& reader, const redisReplyObjectFunctions& functions) noexcept {
  long long behind_maxbuf = 0;
  std::memcpy(
      &behind_maxbuf,
      reinterpret_cast<const char*>(&reader) + offsetof(Reader, maxbuf) + sizeof reader.maxbuf,
      sizeof behind_maxbuf);
  constexpr bool has_limit = requires { reader.maxelements; };
  return (behind_maxbuf != 0) == has_limit && reader.ridx == -1 && reader.fn == &functions;
}

[[noreturn]] void fail(const redisReader& reader, bool first_reply) {
  // hiredis' word for every null that a callback has returned.
  if (reader.err == REDIS_ERR_OOM) {
    if (!static_cast<const ReplyTarget*>(reader.privdata)->is_too_long) throw std::bad_alloc();
    throw IoError(Errc::protocol_error,
                  "an answer has more elements than any that was asked for, or is deeper");
  }
  // The first byte of an alert, by which a server that expects TLS answers to anything else. Behind
  // a reply it is none: the server has spoken the Redis protocol.
  // Source: RFC 8446, section 5.1, "ContentType".
  constexpr std::string_view alert = R"(got "\x15" as)";
  if (first_reply && std::string_view(reader.errstr).find(alert) != std::string_view::npos) {
    throw IoError(Errc::unreachable, "this port speaks TLS; use rediss://, or a port without TLS");
  }
  throw IoError(Errc::protocol_error, "the answer is not the Redis protocol (" +
                                          std::string(reader.errstr) +
                                          "); is this a Redis or Valkey server?");
}

}  // namespace

void ReplyReader::Free::operator()(redisReader* reader) const noexcept {
  ::redisReaderFree(reader);
}

ReplyReader::ReplyReader() {
  static redisReplyObjectFunctions functions = make_functions();
  reader_.reset(::redisReaderCreateWithFunctions(&functions));
  if (reader_ == nullptr) throw std::bad_alloc();
  if (!fits_header(*reader_, functions)) {
    throw IoError(Errc::unsupported,
                  "redlatch was built for another version of hiredis than the one that is loaded; "
                  "is there a second hiredis in this program?");
  }
  reader_->privdata = &target_;
}

ReplyReader::ReplyReader(ReplyReader&& other) noexcept
    : target_(std::move(other.target_)),
      unread_(other.unread_),
      first_reply_(other.first_reply_),
      reader_(std::move(other.reader_)) {
  reader_->privdata = &target_;
}

void ReplyReader::feed(std::string_view bytes) {
  unread_ += bytes.size();
  if (unread_ > max_bytes) {
    throw IoError(Errc::protocol_error, "the answer is longer than any that was asked for");
  }
  if (::redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK)
    fail(*reader_, first_reply_);
}

std::optional<Reply> ReplyReader::next() {
  // hiredis would begin a reply where there is none, and then not be `empty`.
  if (empty() && reader_->err == 0) return std::nullopt;
  void* reply = nullptr;
  if (::redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) fail(*reader_, first_reply_);
  if (reply == nullptr) return std::nullopt;
  unread_ = reader_->len - reader_->pos;
  first_reply_ = false;
  if (reply != &target_.root) {
    throw IoError(Errc::protocol_error, "the answer is of a kind of RESP3");
  }
  return std::exchange(target_.root, Reply{});
}

bool ReplyReader::empty() const noexcept {
  return reader_->pos == reader_->len && reader_->ridx == -1;
}

}  // namespace redlatch::detail
