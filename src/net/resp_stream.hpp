#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include <redlatch/protocol/command.hpp>

#include "base/io_error.hpp"
#include "net/reply_reader.hpp"

namespace redlatch::detail {

/// How a script is called: by its hash, which the server may not know, or with its text.
enum class ScriptCall { by_hash, by_text };

/// The commands of one connection as bytes to send, and the bytes that come back as replies, in
/// order. No socket: see `Transport`. Members that are not noexcept throw `IoError` or
/// `std::bad_alloc`, after which the stream is of no use.
class RespStream {
 public:
  /// A position in all that was ever appended, counted in bytes.
  using Position = std::uint64_t;
  static constexpr Position nowhere = static_cast<Position>(-1);

  /// Puts a command behind those that are to be sent. `asks`: with ASKING in front of it, whose
  /// reply is skipped.
  void append(const protocol::Command& command, ScriptCall call = ScriptCall::by_hash,
              bool asks = false);
  /// The bytes to send next, until the next call of `append` or `sent`.
  std::string_view output() const noexcept { return std::string_view(out_).substr(sent_); }
  /// The first `count` bytes of `output` were sent.
  void sent(std::size_t count) noexcept {
    sent_ += count;
    assert(sent_ <= out_.size());
  }

  Position appended() const noexcept { return base_ + out_.size(); }
  Position sent() const noexcept { return base_ + sent_; }

  /// Takes in bytes that the server has sent; then `next` has more to give, perhaps.
  void received(std::string_view bytes) { reader_.feed(bytes); }
  /// The next reply, if all of it has come. It must be of the kind that the command expects.
  std::optional<protocol::Reply> next(protocol::Expect expect);
  /// The next message, on a connection with a subscription, if all of it has come.
  std::optional<protocol::Reply> next_unasked();

  /// Commands whose replies have not been received.
  std::size_t owed() const noexcept { return owed_; }
  /// The error of a closed connection, with the names of the unanswered commands: a proxy closes it
  /// at a command that it does not know, and says nothing else about that.
  IoError naming_owed(const IoError& error) const;
  /// Whether every command is answered, and there are no bytes behind the last reply.
  bool in_sync() const noexcept { return owed_ == 0 && reader_.empty(); }

 private:
  std::string owed_names() const;
  void append_asking();
  void append_bulk(std::string_view text);
  void append_header(char kind, std::size_t number);
  void append_side_key(std::string_view key, std::string_view purpose);
  void append_keys(std::string_view lock, const protocol::Script& script);
  void append_call(const protocol::Command& command, ScriptCall call);

  ReplyReader reader_{};
  std::string out_{};
  std::size_t sent_ = 0;  // bytes of `out_`
  Position base_ = 0;     // where `out_` begins
  std::size_t owed_ = 0;  // replies
  // For each ASKING that is not answered, how many replies are owed in front of its own.
  std::deque<std::size_t> skipped_{};
};

}  // namespace redlatch::detail
