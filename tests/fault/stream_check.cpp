#include "stream_check.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>

namespace redlatch::test {
namespace {

/// Around the end of a ttl, it is not known whether the key is there.
constexpr std::int64_t margin = 20'000;
constexpr std::int64_t for_ever = std::numeric_limits<std::int64_t>::max();

std::int64_t number_in(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

bool is_question(std::string_view command) {
  constexpr std::array<std::string_view, 8> all{"GET",   "EXISTS", "PTTL",   "TYPE",
                                                "WATCH", "ZRANGE", "ZSCORE", "ZCARD"};
  return std::ranges::count(all, command) > 0;
}

/// The words in quotation marks.
std::vector<std::string> words_in(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      inside = !inside;
      if (inside) words.emplace_back();
    } else if (inside) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      words.back() += text[i];
    }
  }
  return words;
}

}  // namespace

/// As `1700000000.123456 [0 lua] "SET" "key" "value"`.
struct StreamCheck::Line {
  std::string text{};
  std::int64_t time = 0;
  int database = 0;
  bool of_script = false;
  std::string command{};
  std::vector<std::string> words{};  // with the command
};

StreamCheck::Line StreamCheck::parsed(std::string_view text) {
  Line line{.text = std::string(text)};
  const std::size_t point = text.find('.');
  const std::size_t opens = text.find(" [");
  const std::size_t closes = text.find("] ");
  if (point == std::string_view::npos || opens == std::string_view::npos ||
      closes == std::string_view::npos || point > opens) {
    return line;
  }
  line.time = number_in(text.substr(0, point)) * 1'000'000 +
              number_in(text.substr(point + 1, opens - point - 1));
  line.database = static_cast<int>(number_in(text.substr(opens + 2)));
  line.of_script = text.substr(opens, closes - opens).ends_with(" lua");
  line.words = words_in(text.substr(closes + 2));
  if (!line.words.empty()) line.command = upper(line.words.front());
  return line;
}

void StreamCheck::take(std::string_view text) {
  const Line line = parsed(text);
  if (line.words.empty()) return;
  if (!line.of_script) {
    arguments_.clear();
    if (line.command == "EVAL" || line.command == "EVALSHA") arguments_ = line.words;
  }
  if (line.command == "FLUSHALL" || line.command == "FLUSHDB") known_.clear();
  if (line.words.size() < 2 || line.command.starts_with("EVAL")) return;
  const bool has_several = line.command == "DEL" || line.command == "UNLINK";
  constexpr std::string_view side_key = ":redlatch:";  // of a queue or a counter
  const std::size_t keys = has_several ? line.words.size() - 1 : 1;
  for (std::size_t i = 1; i <= keys; ++i) {
    const Key key{line.database, line.words[i]};
    if (key.second.find(side_key) != std::string::npos) continue;
    auto& recent = lines_[key];
    constexpr std::size_t most = 8;
    recent.push_back(line.text);
    if (recent.size() > most) recent.pop_front();
    apply(line, key);
  }
}

void StreamCheck::forget() {
  known_.clear();
  arguments_.clear();
}

bool StreamCheck::is_there(const Key& key, std::int64_t now) const {
  const auto found = known_.find(key);
  return found != known_.end() && found->second.exists && now < found->second.until - margin;
}

bool StreamCheck::is_gone(const Key& key, std::int64_t now) const {
  const auto found = known_.find(key);
  return found != known_.end() && (!found->second.exists || now > found->second.until + margin);
}

void StreamCheck::apply(const Line& line, const Key& key) {
  if (line.command == "SET") return set(line, key);
  if (line.command == "DEL" || line.command == "UNLINK") {
    check(line, key);
    known_[key] = {};
  } else if (line.command == "PEXPIRE" && line.words.size() > 2) {
    check(line, key);
    if (is_there(key, line.time)) {
      known_[key].until = line.time + number_in(line.words[2]) * 1000;
    } else if (!is_gone(key, line.time)) {
      known_.erase(key);
    }
  } else if (!is_there(key, line.time) && !is_question(line.command)) {
    known_.erase(key);  // it may be a set, or something else, from here on
  }
}

void StreamCheck::set(const Line& line, const Key& key) {
  if (line.words.size() < 3) return;
  State state{.exists = true, .value = line.words[2], .until = for_ever};
  bool if_absent = false;
  for (std::size_t i = 3; i < line.words.size(); ++i) {
    const std::string word = upper(line.words[i]);
    if (word == "NX") if_absent = true;
    if (word == "PX" && i + 1 < line.words.size()) {
      state.until = line.time + number_in(line.words[i + 1]) * 1000;
    }
  }
  if (!if_absent) {
    check(line, key);
    known_[key] = state;
  } else if (is_gone(key, line.time)) {
    known_[key] = state;
  } else if (!is_there(key, line.time)) {
    known_.erase(key);
  }
}

void StreamCheck::check(const Line& line, const Key& key) {
  if (!line.of_script || !is_there(key, line.time)) return;
  ++checked_;
  const std::string& holder = known_[key].value;
  if (std::ranges::count(arguments_, holder) > 0) return;
  std::string text = "a script changes " + key.second + ", which " + holder + " holds:";
  for (const std::string& recent : lines_[key]) text += "\n    " + recent;
  text += "\n    called by";
  for (const std::string& argument : arguments_) text += ' ' + argument;
  violations_.push_back(std::move(text));
}

}  // namespace redlatch::test
