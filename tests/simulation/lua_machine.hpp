#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fake_commands.hpp"

struct lua_State;

namespace redlatch::test {

/// Runs the scripts of fake servers as Redis 7.0 does: Lua 5.1, `redis.call` and its conversions.
/// A process has one, for all of its servers and one thread at a time, as a state takes long to
/// make. A script is compiled once; it cannot change anything that later scripts see: globals and
/// libraries are read-only. There are no libraries but string, table and math without random
/// numbers, and no access to metatables.
class LuaMachine {
 public:
  static LuaMachine& of_this_process();
  LuaMachine(const LuaMachine&) = delete;
  LuaMachine& operator=(const LuaMachine&) = delete;
  ~LuaMachine();

  /// The name of a script: its SHA-1.
  const std::string& sha1(std::string_view text);
  /// Nothing, or what is wrong with the script.
  std::optional<std::string> compile(const std::string& sha1, std::string_view text);

  /// Runs a command for a script, and appends the reply. Must not throw.
  using Call = std::function<void(Words words, std::string& reply)>;
  /// Appends the reply of a compiled script.
  void run(const std::string& sha1, Words keys, Words arguments, const Call& call,
           std::string& out);

 private:
  struct Closing {
    void operator()(lua_State* lua) const noexcept;
  };

  LuaMachine();
  void open_libraries();
  void make_environment();
  void set_texts(const char* global, Words texts);
  void append_failure(const std::string& sha1, std::string& out);
  static int call(lua_State* lua);
  static int pcall(lua_State* lua);
  /// Replaces the arguments by the reply, and returns whether it is an error.
  bool run_command(lua_State* lua) noexcept;

  std::unique_ptr<lua_State, Closing> lua_;
  const Call* call_ = nullptr;
  std::string reply_{};
  std::unordered_map<std::string, std::string> hashes_{};
};

}  // namespace redlatch::test
