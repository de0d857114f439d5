#include "lua_machine.hpp"

extern "C" {
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
}

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <new>
#include <vector>

#include <redlatch/protocol/sha1.hpp>

#include "resp_out.hpp"

// Lua leaves a function by longjmp() when there is an error, past destructors. So no function here
// that may raise one has an object with a destructor at that moment.

namespace redlatch::test {
namespace {

constexpr const char* function_prefix = "f_";

std::string_view text_at(lua_State* lua, int index) {
  std::size_t size = 0;
  const char* text = lua_tolstring(lua, index, &size);
  return {text, size};
}

void push(lua_State* lua, std::string_view text) { lua_pushlstring(lua, text.data(), text.size()); }

/// A table with one field.
void push_field(lua_State* lua, const char* field, std::string_view text) {
  lua_newtable(lua);
  push(lua, text);
  lua_setfield(lua, -2, field);
}

/// The table that scripts have for an error: "-CODE text" loses its minus, any other text gets the
/// code ERR.
void push_error(lua_State* lua, std::string_view text) {
  const bool has_code = text.starts_with('-') && text.find(' ') != std::string_view::npos;
  if (text.starts_with('-')) text.remove_prefix(1);
  text = text.substr(0, text.find_last_not_of("\r\n") + 1);
  lua_newtable(lua);
  lua_pushliteral(lua, "ERR ");
  push(lua, text);
  if (has_code) {
    lua_remove(lua, -2);
  } else {
    lua_concat(lua, 2);
  }
  lua_setfield(lua, -2, "err");
}

/// Takes a number and its line end.
std::int64_t take_number(std::string_view& reply) {
  std::int64_t number = 0;
  std::from_chars(reply.data(), reply.data() + reply.size(), number);
  reply.remove_prefix(reply.find('\n') + 1);
  return number;
}
std::string_view take_line(std::string_view& reply) {
  const std::string_view line = reply.substr(0, reply.find('\r'));
  reply.remove_prefix(line.size() + 2);
  return line;
}

/// Takes one reply in RESP2, and pushes it as a value of Lua.
void push_reply(lua_State* lua, std::string_view& reply) {
  luaL_checkstack(lua, 4, "reply");
  const char kind = reply.front();
  if (kind == '-') return push_error(lua, take_line(reply));
  reply.remove_prefix(1);
  if (kind == '+') return push_field(lua, "ok", take_line(reply));
  const std::int64_t number = take_number(reply);
  if (kind == ':') return lua_pushnumber(lua, static_cast<lua_Number>(number));
  if (number < 0) return lua_pushboolean(lua, 0);
  if (kind == '$') {
    push(lua, reply.substr(0, static_cast<std::size_t>(number)));
    reply.remove_prefix(static_cast<std::size_t>(number) + 2);
    return;
  }
  lua_createtable(lua, static_cast<int>(number), 0);
  for (int i = 1; i <= number; ++i) {
    push_reply(lua, reply);
    lua_rawseti(lua, -2, i);
  }
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));
  return text.substr(0, text.find_last_not_of("\r\n") + 1);
}

/// Appends the value on top of the stack as a reply, and removes it.
void append_result(lua_State* lua, std::string& out);

/// Whether the table on top of the stack has a text as this field, which is then on top of it.
bool has_text_field(lua_State* lua, const char* field) {
  lua_pushstring(lua, field);
  lua_rawget(lua, -2);
  if (lua_type(lua, -1) == LUA_TSTRING) return true;
  lua_pop(lua, 1);
  return false;
}

void append_table(lua_State* lua, std::string& out) {
  if (has_text_field(lua, "err")) {
    resp::append_error(out, resp::one_line(trimmed(text_at(lua, -1))));
    lua_pop(lua, 1);
    return;
  }
  if (has_text_field(lua, "ok")) {
    resp::append_status(out, resp::one_line(text_at(lua, -1)));
    lua_pop(lua, 1);
    return;
  }
  // Up to the first nil, which `#` may pass over.
  std::string elements;
  std::size_t size = 0;
  for (int i = 1;; ++i) {
    lua_rawgeti(lua, -1, i);
    if (lua_isnil(lua, -1)) break;
    append_result(lua, elements);
    ++size;
  }
  lua_pop(lua, 1);
  resp::append_array(out, size);
  out += elements;
}

void append_result(lua_State* lua, std::string& out) {
  if (lua_checkstack(lua, 4) == 0) {
    resp::append_error(out, "ERR reached lua stack limit");
    lua_pop(lua, 1);
    return;
  }
  switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
      resp::append_bulk(out, text_at(lua, -1));
      break;
    case LUA_TBOOLEAN:
      if (lua_toboolean(lua, -1) != 0) {
        resp::append_integer(out, 1);
      } else {
        resp::append_nil(out);
      }
      break;
    case LUA_TNUMBER:
      resp::append_integer(out, static_cast<std::int64_t>(lua_tonumber(lua, -1)));
      break;
    case LUA_TTABLE:
      append_table(lua, out);
      break;
    default:
      resp::append_nil(out);
  }
  lua_pop(lua, 1);
}

/// What a script ends with: its error as a table, with the place where it came from.
int add_place(lua_State* lua) {
  lua_Debug info;
  const auto get = [&](int level) {
    return lua_getstack(lua, level, &info) != 0 && lua_getinfo(lua, "nSl", &info) != 0;
  };
  bool is_known = get(1);
  if (is_known && *info.what == 'C') is_known = get(2);
  if (!lua_istable(lua, 1)) {
    lua_newtable(lua);
    lua_pushliteral(lua, "ERR ");
    if (lua_isstring(lua, 1) != 0) {
      lua_pushvalue(lua, 1);
    } else {
      lua_pushstring(lua, lua_isboolean(lua, 1) ? (lua_toboolean(lua, 1) != 0 ? "true" : "false")
                                                : luaL_typename(lua, 1));
    }
    lua_concat(lua, 2);
    lua_setfield(lua, -2, "err");
    lua_replace(lua, 1);
  }
  lua_settop(lua, 1);
  if (!is_known) return 1;
  lua_pushstring(lua, info.source);
  lua_setfield(lua, 1, "source");
  lua_pushinteger(lua, info.currentline);
  lua_setfield(lua, 1, "line");
  return 1;
}

/// Protected as in Redis: a script sees an error's text, as it did when errors were no tables.
int protected_call(lua_State* lua) {
  const int arguments = lua_gettop(lua);
  luaL_checkany(lua, 1);
  lua_pushboolean(lua, 1);
  lua_insert(lua, 1);
  if (lua_pcall(lua, arguments - 1, LUA_MULTRET, 0) == 0) return lua_gettop(lua);
  if (lua_istable(lua, -1)) {
    lua_getfield(lua, -1, "err");
    if (lua_isstring(lua, -1) != 0) {
      lua_replace(lua, -2);
    } else {
      lua_pop(lua, 1);
    }
  }
  lua_pushboolean(lua, 0);
  lua_replace(lua, 1);
  return 2;
}

int missing_global(lua_State* lua) {
  return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                    luaL_checkstring(lua, 2));
}

int read_only(lua_State* lua) { return luaL_error(lua, "Attempt to modify a readonly table"); }

int single_text(lua_State* lua, bool is_error) {
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    push_error(lua, "wrong number or type of arguments");
    return 1;
  }
  if (!is_error) {
    push_field(lua, "ok", text_at(lua, 1));
    return 1;
  }
  const std::string_view text = text_at(lua, 1);
  if (!text.starts_with('-')) {
    lua_pushliteral(lua, "-");
    lua_insert(lua, 1);
    lua_concat(lua, 2);
  }
  push_error(lua, text_at(lua, 1));
  return 1;
}
int error_reply(lua_State* lua) { return single_text(lua, true); }
int status_reply(lua_State* lua) { return single_text(lua, false); }

int sha1hex(lua_State* lua) {
  if (lua_gettop(lua) != 1) {
    push_error(lua, "wrong number of arguments");
    return lua_error(lua);
  }
  const protocol::Sha1 sum(text_at(lua, 1));
  push(lua, sum.digits());
  return 1;
}

/// What concerns replication and logs changes nothing here.
int nothing(lua_State*) { return 0; }

/// Replaces the table on top of the stack by one through which it can only be read.
void protect(lua_State* lua) {
  lua_newtable(lua);  // the view
  lua_newtable(lua);  // its metatable
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, read_only);
  lua_setfield(lua, -2, "__newindex");
  lua_setmetatable(lua, -2);
  lua_remove(lua, -2);
}

// In the registry: the table that scripts have instead of globals, and what is behind it.
constexpr const char* environment = "environment";
constexpr const char* globals = "globals";

constexpr std::array allowed{"assert", "error", "ipairs",   "next",     "pairs",  "rawequal",
                             "select", "type",  "tonumber", "tostring", "unpack", "xpcall",
                             "string", "table", "math",     "_VERSION"};

}  // namespace

void LuaMachine::Closing::operator()(lua_State* lua) const noexcept { lua_close(lua); }

LuaMachine& LuaMachine::of_this_process() {
  static LuaMachine machine;
  return machine;
}

LuaMachine::LuaMachine() : lua_(luaL_newstate()) {
  if (!lua_) throw std::bad_alloc();
  open_libraries();
  make_environment();
}

LuaMachine::~LuaMachine() = default;

void LuaMachine::open_libraries() {
  lua_State* const lua = lua_.get();
  for (const lua_CFunction open : {luaopen_base, luaopen_string, luaopen_table, luaopen_math}) {
    lua_pushcfunction(lua, open);
    lua_call(lua, 0, 0);
  }
  lua_getglobal(lua, "math");
  for (const char* name : {"random", "randomseed"}) {
    lua_pushnil(lua);
    lua_setfield(lua, -2, name);
  }
  lua_pop(lua, 1);
}

void LuaMachine::make_environment() {
  lua_State* const lua = lua_.get();
  lua_newtable(lua);  // globals
  for (const char* name : allowed) {
    lua_getglobal(lua, name);
    if (lua_istable(lua, -1)) protect(lua);
    lua_setfield(lua, -2, name);
  }
  lua_pushcfunction(lua, protected_call);
  lua_setfield(lua, -2, "pcall");

  lua_newtable(lua);  // redis
  const auto add = [&](const char* name, lua_CFunction function) {
    lua_pushlightuserdata(lua, this);
    lua_pushcclosure(lua, function, 1);
    lua_setfield(lua, -2, name);
  };
  add("call", call);
  add("pcall", pcall);
  add("error_reply", error_reply);
  add("status_reply", status_reply);
  add("sha1hex", sha1hex);
  add("set_repl", nothing);
  add("log", nothing);
  constexpr std::array<std::pair<const char*, int>, 9> numbers{{{"REPL_NONE", 0},
                                                                {"REPL_AOF", 1},
                                                                {"REPL_SLAVE", 2},
                                                                {"REPL_REPLICA", 2},
                                                                {"REPL_ALL", 3},
                                                                {"LOG_DEBUG", 0},
                                                                {"LOG_VERBOSE", 1},
                                                                {"LOG_NOTICE", 2},
                                                                {"LOG_WARNING", 3}}};
  for (const auto& [name, number] : numbers) {
    lua_pushinteger(lua, number);
    lua_setfield(lua, -2, name);
  }
  protect(lua);
  lua_setfield(lua, -2, "redis");

  lua_newtable(lua);
  lua_pushcfunction(lua, missing_global);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, -2);
  lua_pushvalue(lua, -1);
  lua_setfield(lua, LUA_REGISTRYINDEX, globals);
  protect(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, environment);
}

const std::string& LuaMachine::sha1(std::string_view text) {
  constexpr std::size_t limit = 1000;  // of scripts that a test makes up
  std::string key(text);
  const auto found = hashes_.find(key);
  if (found != hashes_.end()) return found->second;
  if (hashes_.size() >= limit) hashes_.clear();
  return hashes_.emplace(std::move(key), protocol::Sha1(text).digits()).first->second;
}

std::optional<std::string> LuaMachine::compile(const std::string& sha1, std::string_view text) {
  lua_State* const lua = lua_.get();
  const std::string name = function_prefix + sha1;
  lua_getfield(lua, LUA_REGISTRYINDEX, name.c_str());
  const bool is_known = lua_isfunction(lua, -1);
  lua_pop(lua, 1);
  if (is_known) return std::nullopt;
  if (luaL_loadbuffer(lua, text.data(), text.size(), "@user_script") != 0) {
    std::string problem(text_at(lua, -1));
    lua_pop(lua, 1);
    return problem;
  }
  lua_getfield(lua, LUA_REGISTRYINDEX, environment);
  lua_setfenv(lua, -2);
  lua_setfield(lua, LUA_REGISTRYINDEX, name.c_str());
  return std::nullopt;
}

void LuaMachine::set_texts(const char* global, Words texts) {
  lua_State* const lua = lua_.get();
  lua_pushstring(lua, global);
  lua_createtable(lua, static_cast<int>(texts.size()), 0);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    push(lua, texts[i]);
    lua_rawseti(lua, -2, static_cast<int>(i) + 1);
  }
  lua_rawset(lua, -3);
}

void LuaMachine::run(const std::string& sha1, Words keys, Words arguments, const Call& call,
                     std::string& out) {
  lua_State* const lua = lua_.get();
  call_ = &call;
  lua_getfield(lua, LUA_REGISTRYINDEX, globals);
  set_texts("KEYS", keys);
  set_texts("ARGV", arguments);
  lua_pop(lua, 1);
  lua_pushcfunction(lua, add_place);
  lua_getfield(lua, LUA_REGISTRYINDEX, (function_prefix + sha1).c_str());
  if (lua_pcall(lua, 0, 1, -2) == 0) {
    append_result(lua, out);
  } else {
    append_failure(sha1, out);
  }
  lua_settop(lua, 0);
  call_ = nullptr;
}

void LuaMachine::append_failure(const std::string& sha1, std::string& out) {
  lua_State* const lua = lua_.get();
  if (!lua_istable(lua, -1)) {  // not even the handler of errors could run
    return resp::append_error(out, "ERR Error running script " + sha1 + ", " +
                                       std::string(text_at(lua, -1)).substr(0, 100));
  }
  lua_getfield(lua, -1, "err");
  std::string message(text_at(lua, -1));
  lua_getfield(lua, -2, "source");
  lua_getfield(lua, -3, "line");
  if (lua_isstring(lua, -1) != 0 && lua_isstring(lua, -2) != 0) {
    message += " script: " + sha1 + ", on ";
    message += text_at(lua, -2);
    message += ':';
    message += text_at(lua, -1);
    message += '.';
  }
  resp::append_error(out, message);
}

int LuaMachine::call(lua_State* lua) {
  auto* const machine = static_cast<LuaMachine*>(lua_touserdata(lua, lua_upvalueindex(1)));
  return machine->run_command(lua) ? lua_error(lua) : 1;
}

int LuaMachine::pcall(lua_State* lua) {
  static_cast<LuaMachine*>(lua_touserdata(lua, lua_upvalueindex(1)))->run_command(lua);
  return 1;
}

bool LuaMachine::run_command(lua_State* lua) noexcept {
  const int size = lua_gettop(lua);
  const auto refuse = [&](const char* problem) {
    lua_settop(lua, 0);
    push_error(lua, problem);
    return true;
  };
  if (size == 0) return refuse("Please specify at least one argument for this redis lib call");
  std::vector<std::string_view> words;
  words.reserve(static_cast<std::size_t>(size));
  for (int i = 1; i <= size; ++i) {
    // Lua itself writes numbers with 14 digits only.
    if (lua_type(lua, i) == LUA_TNUMBER) {
      std::array<char, 64> digits{};
      std::snprintf(digits.data(), digits.size(), "%.17g", lua_tonumber(lua, i));
      lua_pushstring(lua, digits.data());
      lua_replace(lua, i);
    }
    if (lua_type(lua, i) != LUA_TSTRING) {
      return refuse("Lua redis lib command arguments must be strings or integers");
    }
    words.push_back(text_at(lua, i));
  }
  reply_.clear();
  (*call_)(words, reply_);
  lua_settop(lua, 0);
  std::string_view reply(reply_);
  const bool is_error = reply.starts_with('-');
  push_reply(lua, reply);
  return is_error;
}

}  // namespace redlatch::test
