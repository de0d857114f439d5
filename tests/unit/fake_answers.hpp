#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/reply.hpp>

#include "replies.hpp"

namespace redlatch::test {

using detail::TimePoint;

/// What one server does with one batch.
struct Answer {
  std::vector<protocol::Reply> replies{};
  std::optional<Error> failure{};
  std::optional<TimePoint::duration> sent_after{0};  // nothing: no byte went out
  bool out_of_memory = false;
  TimePoint::duration delay{0};

  Answer after(TimePoint::duration time) && {
    delay = time;
    return std::move(*this);
  }
};

template <class... Replies>
Answer says(Replies... replies) {
  return {.replies = {std::move(replies)...}};
}
/// There is no server: nothing was sent.
inline Answer away() {
  return {.failure = Error(Errc::unreachable, "refused", "redis://fake:1/0"), .sent_after{}};
}
/// Sent, and then no answer.
inline Answer in_doubt(Errc code = Errc::timed_out) {
  return {.failure = Error(code, "no answer", "redis://fake:1/0", true)};
}
inline Answer silent() { return {}; }
inline Answer out_of_memory() { return {.out_of_memory = true}; }

/// y: yes, n: no, e: an error reply, a: away, d: in doubt, s: silent.
inline std::vector<Answer> servers(std::string_view letters) {
  std::vector<Answer> answers;
  for (const char letter : letters) {
    switch (letter) {
      case 'y':
        answers.push_back(says(ok()));
        break;
      case 'n':
        answers.push_back(says(nil()));
        break;
      case 'e':
        answers.push_back(says(refusal("OOM command not allowed")));
        break;
      case 'a':
        answers.push_back(away());
        break;
      case 'd':
        answers.push_back(in_doubt());
        break;
      default:
        answers.push_back(silent());
    }
  }
  return answers;
}

}  // namespace redlatch::test
