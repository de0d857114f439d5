#include "net/resp_stream.hpp"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/protocol/packed.hpp>
#include <redlatch/protocol/side_key.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {

namespace {

/// The first words of the commands in `batch`, which consists of whole commands.
std::vector<std::string_view> names_in(std::string_view batch) {
  const auto take_number = [&] {
    std::size_t number = 0;
    std::from_chars(batch.data() + 1, batch.data() + batch.size(), number);
    batch.remove_prefix(batch.find('\n') + 1);
    return number;
  };
  std::vector<std::string_view> names;
  while (!batch.empty()) {
    names.emplace_back();
    for (std::size_t words = take_number(); words > 0; --words) {
      const std::size_t size = take_number();
      if (names.back().empty()) names.back() = batch.substr(0, size);
      batch.remove_prefix(size + 2);
    }
  }
  return names;
}

}  // namespace

// RESP: redis.io/docs/latest/develop/reference/protocol-spec
void RespStream::append_header(char kind, std::size_t number) {
  const auto digit = [](std::size_t value) { return static_cast<char>('0' + value); };
  if (number < 10) {
    out_.append({kind, digit(number), '\r', '\n'});
  } else if (number < 100) {  // nearly always
    out_.append({kind, digit(number / 10), digit(number % 10), '\r', '\n'});
  } else {
    out_ += kind;
    out_ += std::to_string(number);
    out_ += "\r\n";
  }
}

void RespStream::append_bulk(std::string_view text) {
  append_header('$', text.size());
  out_ += text;
  out_ += "\r\n";
}

void RespStream::append_side_key(std::string_view key, std::string_view purpose) {
  const protocol::SideKey name(key, purpose);
  std::size_t size = 0;
  for (const std::string_view piece : name.pieces()) size += piece.size();
  append_header('$', size);
  for (const std::string_view piece : name.pieces()) out_ += piece;
  out_ += "\r\n";
}

void RespStream::append_call(const protocol::Command& command, ScriptCall call) {
  const protocol::Script& script = *command.script();
  auto arguments = command.arguments().subspan(1);
  protocol::Unpacked more;
  if (script.takes_more) {
    more = protocol::Unpacked(arguments.back().text());
    arguments = arguments.first(arguments.size() - 1);
  }
  const std::size_t keys = (1 + more.size()) * script.keys_of_each();
  append_header('*', 3 + keys + arguments.size());
  append_bulk(call == ScriptCall::by_hash ? "EVALSHA" : "EVAL");
  append_bulk(call == ScriptCall::by_hash ? script.sha1() : script.text);
  append_bulk(protocol::Argument(static_cast<std::int64_t>(keys)).text());
  append_keys(command.argument(0), script);
  while (!more.empty()) append_keys(more.next(), script);
  for (const auto& argument : arguments) append_bulk(argument.text());
}

void RespStream::append_keys(std::string_view lock, const protocol::Script& script) {
  append_bulk(lock);
  for (const std::string_view purpose : script.side_keys) {
    if (!purpose.empty()) append_side_key(lock, purpose);
  }
}

void RespStream::append_asking() {
  constexpr std::string_view asking = "ASKING";
  append_header('*', 1);
  append_bulk(asking);
  // The replies that are owed in front, counted from behind the ASKING before.
  std::size_t in_front = owed_;
  for (const std::size_t one : skipped_) in_front -= one + 1;
  skipped_.push_back(in_front);
  ++owed_;
}

void RespStream::append(const protocol::Command& command, ScriptCall call, bool asks) {
  // All is sent: the memory is used again. Until then sent bytes stay, for `owed_names`.
  if (sent_ == out_.size()) {
    base_ += out_.size();
    out_.clear();
    sent_ = 0;
  }
  if (asks) append_asking();
  if (command.script() != nullptr) {
    append_call(command, call);
  } else {
    append_header('*', command.arguments().size());
    for (const protocol::Argument& argument : command.arguments()) append_bulk(argument.text());
  }
  ++owed_;
}

/// The names of the last unanswered commands, each once, as in "SET, EVALSHA". `out_` keeps the
/// bytes that were sent until the next batch.
std::string RespStream::owed_names() const {
  std::vector<std::string_view> names = names_in(out_);
  if (names.size() > owed_)
    names.erase(names.begin(), names.end() - static_cast<std::ptrdiff_t>(owed_));
  std::vector<std::string_view> different;
  for (const std::string_view name : names) {
    if (std::ranges::find(different, name) == different.end()) different.push_back(name);
  }
  std::string text;
  for (const std::string_view name : different) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

IoError RespStream::naming_owed(const IoError& error) const {
  if (owed_ == 0) return error;
  return {error.code(), std::string(error.what()) + ", before an answer to " + owed_names()};
}

std::optional<protocol::Reply> RespStream::next(protocol::Expect expect) {
  std::optional<protocol::Reply> reply = reader_.next();
  if (!reply) return reply;
  if (!skipped_.empty() && skipped_.front()-- == 0) {
    skipped_.pop_front();
    --owed_;
    return next(expect);
  }
  // A reply of another form shows that replies were lost, doubled or swapped on the way: from here
  // on each would be taken for the answer to another command.
  if (!protocol::answers(expect, *reply)) {
    throw IoError(Errc::protocol_error, "the server answered another question");
  }
  assert(owed_ > 0);
  --owed_;
  return reply;
}

std::optional<protocol::Reply> RespStream::next_unasked() { return reader_.next(); }

}  // namespace redlatch::detail
