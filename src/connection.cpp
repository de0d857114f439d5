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
  if (owed_ == 0) first_change_ = nowhere;
  if (sent_ == out_.size()) {
    base_ += out_.size();
    out_.clear();
    sent_ = 0;
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
  if (first_change_ == nowhere && command.changes_data()) first_change_ = appended();
}

void Connection::flush(TimePoint deadline) {
  if (sent_ < out_.size()) socket_.send(out_, sent_, deadline);
}

bool Connection::try_flush() {
  if (sent_ < out_.size()) socket_.send_now(out_, sent_);
  return sent_ == out_.size();
}

void Connection::wait(TimePoint deadline) {
  std::array<char, 4096> room;
  reader_.feed({room.data(), socket_.receive(room, deadline)});
}

bool Connection::take_in() {
  std::array<char, 4096> room;
  const std::size_t count = socket_.receive_now(room);
  if (count > 0) reader_.feed({room.data(), count});
  return count > 0;
}

std::optional<protocol::Reply> Connection::next(protocol::Expect expect) {
  std::optional<protocol::Reply> reply = reader_.next();
  if (!reply) return reply;
  if (!protocol::answers(expect, *reply)) {
    throw IoError(Errc::protocol_error, "the server answered another question");
  }
  --owed_;
  return reply;
}

protocol::Reply Connection::receive(protocol::Expect expect, TimePoint deadline) {
  for (;;) {
    if (std::optional<protocol::Reply> reply = next(expect)) return *std::move(reply);
    wait(deadline);
  }
}

}  // namespace redlatch::detail
