#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// Appends replies in RESP2. Source: redis.io/docs/latest/develop/reference/protocol-spec.
namespace redlatch::test::resp {

inline constexpr std::string_view wrong_type =
    "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr std::string_view no_integer = "ERR value is not an integer or out of range";
inline constexpr std::string_view syntax_error = "ERR syntax error";

inline void append_header(std::string& out, char kind, std::int64_t number) {
  out += kind;
  out += std::to_string(number);
  out += "\r\n";
}
inline void append_integer(std::string& out, std::int64_t number) {
  append_header(out, ':', number);
}
inline void append_array(std::string& out, std::size_t size) {
  append_header(out, '*', static_cast<std::int64_t>(size));
}
inline void append_bulk(std::string& out, std::string_view text) {
  append_header(out, '$', static_cast<std::int64_t>(text.size()));
  out += text;
  out += "\r\n";
}
inline void append_nil(std::string& out) { out += "$-1\r\n"; }
inline void append_nil_array(std::string& out) { out += "*-1\r\n"; }
inline void append_status(std::string& out, std::string_view text) {
  out += '+';
  out += text;
  out += "\r\n";
}
inline void append_ok(std::string& out) { append_status(out, "OK"); }
/// Without the ends of lines, which no error or status has.
inline std::string one_line(std::string_view text) {
  std::string line(text);
  std::ranges::replace(line, '\r', ' ');
  std::ranges::replace(line, '\n', ' ');
  return line;
}
/// `text` begins with the kind of the error, as in "ERR syntax error".
inline void append_error(std::string& out, std::string_view text) {
  out += '-';
  out += text;
  out += "\r\n";
}

}  // namespace redlatch::test::resp
