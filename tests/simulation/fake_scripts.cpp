#include "fake_scripts.hpp"

#include <string>

#include "lua_machine.hpp"
#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using namespace resp;

constexpr std::string_view no_script = "NOSCRIPT No matching script. Please use EVAL.";

}  // namespace

bool FakeScripts::learn(std::string& out, std::string_view text) {
  LuaMachine& lua = LuaMachine::of_this_process();
  const std::string& sha1 = lua.sha1(text);
  if (scripts_.contains(sha1)) return true;
  if (const auto problem = lua.compile(sha1, text)) {
    append_error(out, resp::one_line("ERR Error compiling script (new function): " + *problem));
    return false;
  }
  scripts_.emplace(sha1, text);
  return true;
}

std::optional<FakeScripts::Call> FakeScripts::take_call(std::string& out, Words words,
                                                        bool by_hash) {
  const auto refuse = [&](std::string_view error) {
    append_error(out, error);
    return std::nullopt;
  };
  if (by_hash && words[1].size() != 40) return refuse(no_script);
  const auto size = integer_in(words[2]);
  if (!size) return refuse(resp::no_integer);
  if (*size > static_cast<std::int64_t>(words.size()) - 3) {
    return refuse("ERR Number of keys can't be greater than number of args");
  }
  if (*size < 0) return refuse("ERR Number of keys can't be negative");
  LuaMachine& lua = LuaMachine::of_this_process();
  const std::string sha1 = by_hash ? lower(words[1]) : lua.sha1(words[1]);
  if (by_hash && !scripts_.contains(sha1)) return refuse(no_script);
  if (!by_hash && !learn(out, words[1])) return std::nullopt;
  // Another thread may have loaded it.
  lua.compile(sha1, scripts_.find(sha1)->second);
  const auto keys = static_cast<std::size_t>(*size);
  return Call{.sha1 = sha1, .keys = words.subspan(3, keys), .arguments = words.subspan(3 + keys)};
}

void FakeScripts::load(FakeClient& client, Words words) {
  if (!learn(client.output, words[2])) return;
  append_bulk(client.output, LuaMachine::of_this_process().sha1(words[2]));
}

void FakeScripts::know(FakeClient& client, Words words) {
  append_array(client.output, words.size() - 2);
  for (const std::string_view sha1 : words.subspan(2)) {
    append_integer(client.output, scripts_.contains(lower(sha1)) ? 1 : 0);
  }
}

void FakeScripts::flush(FakeClient& client, Words words) {
  const bool is_good =
      words.size() == 2 ||
      (words.size() == 3 && (is_word(words[2], "sync") || is_word(words[2], "async")));
  if (!is_good) {
    return append_error(client.output, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
  }
  scripts_.clear();
  append_ok(client.output);
}

}  // namespace redlatch::test
