#pragma once

#include <array>
#include <cassert>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/script.hpp>

namespace redlatch::protocol {

/// One argument of a command: a text, which has to outlive it, or a number.
class Argument {
 public:
  Argument() = default;
  template <std::convertible_to<std::string_view> Text>
  explicit Argument(const Text& text) noexcept : text_(text) {}
  explicit Argument(std::int64_t number) noexcept
      : length_(static_cast<std::size_t>(
            std::to_chars(digits_.data(), digits_.data() + digits_.size(), number).ptr -
            digits_.data())) {}
  explicit Argument(std::chrono::milliseconds time) noexcept : Argument(time.count()) {}

  std::string_view text() const noexcept {
    return length_ == 0 ? text_ : std::string_view(digits_.data(), length_);
  }

 private:
  std::string_view text_{};
  std::array<char, 20> digits_{};
  std::size_t length_ = 0;  // of a number
};

/// Which replies a command may have, besides errors. Any other reply means that replies and
/// commands of the connection do not match any more.
enum class Expect { ok_or_nil, integer, status, text_or_nil, array_or_nil, anything };

/// One command, or one call of a script. It refers to its texts, which have to outlive it; an
/// `OwnedCommand` has copies.
class Command {
 public:
  template <class... Arguments>
  explicit Command(Expect expect, const Arguments&... arguments)
      : expect_(expect), size_(sizeof...(arguments)), arguments_{Argument(arguments)...} {
    static_assert(sizeof...(arguments) <= capacity);
  }

  /// A script's keys and arguments. The connection chooses the form in which it is sent.
  template <class... Arguments>
  explicit Command(const Script& script, const Arguments&... arguments)
      : Command(Expect::integer, arguments...) {
    script_ = &script;
  }

  Command(const Script* script, Expect expect, std::span<const std::string> arguments)
      : script_(script), expect_(expect), size_(arguments.size()) {
    assert(size_ <= capacity);
    for (std::size_t i = 0; i < size_; ++i) arguments_[i] = Argument(arguments[i]);
  }

  /// Null for a plain command.
  const Script* script() const noexcept { return script_; }
  Expect expect() const noexcept { return expect_; }
  /// Whether it may change the server's data. EXEC stands for its whole transaction.
  bool changes_data() const noexcept {
    return script_ != nullptr || argument(0) == "SET" || argument(0) == "DELEX" ||
           argument(0) == "DELIFEQ" || argument(0) == "EXEC";
  }
  std::span<const Argument> arguments() const noexcept { return {arguments_.data(), size_}; }
  std::string_view argument(std::size_t i) const noexcept { return arguments_[i].text(); }
  /// A copy with another time as its last argument.
  Command with_last(std::chrono::milliseconds time) const noexcept {
    Command other = *this;
    other.arguments_[size_ - 1] = Argument(time);
    return other;
  }

 private:
  static constexpr std::size_t capacity = 8;

  const Script* script_ = nullptr;
  Expect expect_;
  std::size_t size_;
  std::array<Argument, capacity> arguments_{};
};

/// A command with copies of its texts.
class OwnedCommand {
 public:
  OwnedCommand() = default;
  explicit OwnedCommand(const Command& command) { *this = command; }
  /// Reuses the memory of its texts.
  OwnedCommand& operator=(const Command& command) {
    script_ = command.script();
    expect_ = command.expect();
    texts_.resize(command.arguments().size());
    for (std::size_t i = 0; i < texts_.size(); ++i) texts_[i] = command.argument(i);
    return *this;
  }

  Command view() const { return Command(script_, expect_, texts_); }
  std::string_view text(std::size_t i) const { return texts_[i]; }

 private:
  const Script* script_ = nullptr;
  Expect expect_ = Expect::anything;
  std::vector<std::string> texts_{};
};

/// Of a release: what takes its place while a cluster has the lock and its further keys at
/// different nodes. It refers to the same texts. Nothing for other commands.
inline std::optional<Command> without_side_keys(const Command& command) {
  const Script* const script = command.script();
  if (script == nullptr || script->alone == nullptr) return std::nullopt;
  if (script->alone->effect == Script::Effect::replace) {
    return Command(*script->alone, command.argument(0), command.argument(1), command.argument(2),
                   command.argument(3));
  }
  return Command(*script->alone, command.argument(0), command.argument(1));
}

/// Whether the reply may be one to a command that expects `expect`.
inline bool answers(Expect expect, const Reply& reply) noexcept {
  if (reply.is_error()) return true;
  switch (expect) {
    case Expect::ok_or_nil:
      return reply.is_ok() || reply.kind == Reply::Kind::nil;
    case Expect::integer:
      return reply.kind == Reply::Kind::integer;
    case Expect::status:
      return reply.kind == Reply::Kind::status;
    case Expect::array_or_nil:
      return reply.kind == Reply::Kind::array || reply.kind == Reply::Kind::nil;
    case Expect::text_or_nil:
      return reply.kind == Reply::Kind::string || reply.kind == Reply::Kind::nil;
    case Expect::anything:
      break;
  }
  return true;
}

}  // namespace redlatch::protocol
