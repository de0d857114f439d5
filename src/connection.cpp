#include "connection.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "io_error.hpp"

namespace redlatch::detail {

// RESP: redis.io/docs/latest/develop/reference/protocol-spec
void Connection::append_header(char kind, std::size_t number) {
  std::array<char, 24> digits{};
  out_ += kind;
  out_.append(digits.data(),
              std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
  out_ += "\r\n";
}

void Connection::append_bulk(std::string_view text) {
  append_header('$', text.size());
  out_ += text;
  out_ += "\r\n";
}

void Connection::append(const protocol::Command& command, ScriptCall call) {
  if (owed_ == 0) {
    out_.clear();
    sent_ = 0;
    first_change_ = none;
  }
  const protocol::Script* script = command.script();
  append_header('*', command.arguments().size() + (script != nullptr ? 3 : 0));
  if (script != nullptr) {
    const bool by_hash = call == ScriptCall::by_hash;
    append_bulk(by_hash ? "EVALSHA" : "EVAL");
    append_bulk(by_hash ? script->sha1 : script->text);
    append_bulk(protocol::Argument(static_cast<std::int64_t>(script->keys)).text());
  }
  for (const protocol::Argument& argument : command.arguments()) append_bulk(argument.text());
  ++owed_;
  if (first_change_ == none && command.changes_data()) first_change_ = out_.size();
}

void Connection::flush(TimePoint deadline) { socket_.send(out_, sent_, deadline); }

protocol::Reply Connection::receive(protocol::Expect expect, TimePoint deadline) {
  std::array<char, 4096> room;
  std::optional<protocol::Reply> reply;
  while (!(reply = next_reply())) {
    reader_.feed({room.data(), socket_.receive(room, deadline)});
  }
  if (protocol::answers(expect, *reply)) return *std::move(reply);
  ++owed_;  // this was not the answer
  throw IoError(Errc::protocol_error, "the server answered another question");
}

std::optional<protocol::Reply> Connection::try_receive() {
  std::array<char, 4096> room;
  for (;;) {
    if (std::optional<protocol::Reply> reply = next_reply()) return reply;
    const std::size_t count = socket_.receive_now(room);
    if (count == 0) return std::nullopt;
    reader_.feed({room.data(), count});
  }
}

std::optional<protocol::Reply> Connection::next_reply() {
  std::optional<protocol::Reply> reply = reader_.next();
  if (reply) --owed_;
  return reply;
}

}  // namespace redlatch::detail
