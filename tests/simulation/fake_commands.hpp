#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fake_keyspace.hpp"

namespace redlatch::test {

/// A command and its arguments.
using Words = std::span<const std::string_view>;

/// One call of a command that concerns data only.
struct DataCall {
  FakeKeyspace& keys;
  int database;
  Words words;
  std::string& out;  // for the reply
};

/// What a server knows of a command. Flags, arity and keys are those of Redis 7.0, by COMMAND INFO.
struct CommandKind {
  enum Flag : unsigned {
    none = 0,
    readonly = 1,
    write = 2,
    needs_memory = 4,
    not_in_scripts = 8,
    while_loading = 16,
    while_stale = 32,  // on a replica that knows its data to be old
    while_busy = 64,   // with a script
    without_login = 128,
    pubsub = 256
  };
  std::string_view name;  // of a subcommand: "client|id"
  int arity;              // negative: at least so many words
  unsigned flags;
  std::size_t first_key;   // 0: it has none
  bool has_more_keys;      // all words behind the first key
  void (*run)(DataCall&);  // null: the server runs it
  bool is(unsigned flag) const noexcept { return (flags & flag) != 0; }
  bool takes(std::size_t words) const noexcept {
    return arity > 0 ? words == static_cast<std::size_t>(arity)
                     : words >= static_cast<std::size_t>(-arity);
  }
  /// The keys of a command of this kind, those of a script among them.
  Words keys_in(Words words) const;
};

/// Null: there is no such command, or subcommand.
const CommandKind* find_command(Words words);
/// What a server says of a command that it does not know.
std::string unknown_command(Words words);
/// Whether this is the name of a command with subcommands.
bool has_subcommands(std::string_view name);
/// The number in an argument, as Redis reads it: no sign but a minus, no zeros in front.
std::optional<std::int64_t> integer_in(std::string_view text) noexcept;
/// Whether two names are the same, in any case of letters.
bool is_word(std::string_view text, std::string_view lower_case) noexcept;
std::string lower(std::string_view text);

}  // namespace redlatch::test
