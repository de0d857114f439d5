#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include <redlatch/protocol/reply.hpp>

struct redisReader;

namespace redlatch::detail {

/// What hiredis' callbacks write to.
struct ReplyTarget {
  protocol::Reply root{};
  bool is_too_long = false;  // an array of the reply claims to have too many elements
};

/// Cuts the bytes that a server sends into replies, by hiredis. The only file that includes
/// hiredis.
class ReplyReader {
 public:
  /// Throws `IoError` (`unsupported`) when the hiredis that is loaded is not the one built for.
  ReplyReader();
  ReplyReader(ReplyReader&& other) noexcept;
  ReplyReader& operator=(ReplyReader&&) = delete;
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;
  ~ReplyReader() = default;

  /// Throws `IoError` when this is not the protocol, after which nothing can be read: `unreachable`
  /// when the first reply is an alert of TLS, `protocol_error` otherwise. Throws `std::bad_alloc`
  /// when memory runs out, and then nothing can be read any more either.
  void feed(std::string_view bytes);
  /// The next whole reply, if it is there. Throws as `feed` does.
  std::optional<protocol::Reply> next();
  /// True when every byte has been returned by `next` as part of a reply.
  bool empty() const noexcept;

 private:
  struct Free {
    void operator()(redisReader* reader) const noexcept;
  };

  ReplyTarget target_{};
  std::size_t unread_ = 0;   // bytes of the reply that is being read, and behind it
  bool first_reply_ = true;  // no whole reply has been read
  std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace redlatch::detail
