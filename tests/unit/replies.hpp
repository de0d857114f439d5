#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/protocol/reply.hpp>

/// Replies as servers give them.
namespace redlatch::test {

inline protocol::Reply status(std::string text) {
  return {.kind = protocol::Reply::Kind::status, .text = std::move(text)};
}
inline protocol::Reply ok() { return status("OK"); }
inline protocol::Reply nil() { return {}; }
inline protocol::Reply integer(std::int64_t number) {
  return {.kind = protocol::Reply::Kind::integer, .integer = number};
}
inline protocol::Reply text(std::string content) {
  return {.kind = protocol::Reply::Kind::string, .text = std::move(content)};
}
inline protocol::Reply refusal(std::string words) {
  return {.kind = protocol::Reply::Kind::error, .text = std::move(words)};
}
inline protocol::Reply array(std::vector<protocol::Reply> elements) {
  return {.kind = protocol::Reply::Kind::array, .elements = std::move(elements)};
}

}  // namespace redlatch::test
