#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "fake_client.hpp"
#include "fake_commands.hpp"

namespace redlatch::test {

/// The scripts that a fake server knows.
class FakeScripts {
 public:
  /// A script that is to be run.
  struct Call {
    std::string sha1;
    Words keys;
    Words arguments;
  };
  /// The call that EVAL or EVALSHA names, compiled. Nothing, after an error.
  std::optional<Call> take_call(std::string& out, Words words, bool by_hash);
  void forget() { scripts_.clear(); }

  // The commands.
  void load(FakeClient& client, Words words);
  void know(FakeClient& client, Words words);
  void flush(FakeClient& client, Words words);

 private:
  bool learn(std::string& out, std::string_view text);

  std::map<std::string, std::string, std::less<>> scripts_{};  // by SHA-1
};

}  // namespace redlatch::test
