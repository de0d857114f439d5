#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory_resource>
#include <span>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// One question put to every server of an executor, and what came back. A majority decides; with
/// one server that is its answer.
class Answers {
 public:
  Answers(Executor& executor, const Request& request, Connecting connecting)
      : executor_(executor),
        script_(request.commands.front().script() != nullptr),
        responses_(executor.servers(), &memory_) {
    const std::pmr::vector<Request> requests(responses_.size(), request, &memory_);
    executor_.execute(requests, responses_, all_in, connecting);
  }

  /// `read` turns the first reply of a server into its verdict. `refused` when neither side has
  /// enough.
  template <class Read>
  protocol::Verdict verdict(Read read) const {
    const auto count = [&](protocol::Verdict wanted) {
      return static_cast<std::size_t>(
          std::count_if(responses_.begin(), responses_.end(), [&](const Response& response) {
            return !response.failure && !response.replies.empty() &&
                   read(response.replies.front()) == wanted;
          }));
    };
    const std::size_t quorum = responses_.size() / 2 + 1;
    if (count(protocol::Verdict::yes) >= quorum) return protocol::Verdict::yes;
    return count(protocol::Verdict::no) > responses_.size() - quorum ? protocol::Verdict::no
                                                                     : protocol::Verdict::refused;
  }

  /// Whether some server has acted, or says that it may have. What is in doubt because a connection
  /// failed is not counted: the executor takes care of that.
  bool may_have_acted() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(), [&](const Response& response) {
      if (response.failure || response.replies.empty()) return false;
      const protocol::Reply& reply = response.replies.front();
      return protocol::verdict(reply) == protocol::Verdict::yes || in_doubt(reply);
    });
  }

  /// Whether what was asked may have been done although it was not answered so.
  bool in_doubt() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(), [&](const Response& response) {
      if (response.failure) return response.failure->in_doubt();
      return !response.replies.empty() && in_doubt(response.replies.front());
    });
  }

  /// Before the first byte to any server. A server that could not be reached was sent none.
  TimePoint sent() const noexcept {
    TimePoint first{};
    for (const Response& response : responses_) {
      if (response.sent == TimePoint{}) continue;
      first = first == TimePoint{} ? response.sent : std::min(first, response.sent);
    }
    return first;
  }

  /// The i-th reply of the first server that gave one, or null.
  const protocol::Reply* reply(std::size_t i) const noexcept {
    for (const Response& response : responses_) {
      if (response.replies.size() > i) return &response.replies[i];
    }
    return nullptr;
  }

  /// Why the verdict is `refused`.
  Error error(std::string_view key) const {
    for (std::size_t i = 0; i < responses_.size(); ++i) {
      const Response& response = responses_[i];
      if (response.failure) return *response.failure;
      if (response.replies.empty() || !response.replies.front().is_error()) continue;
      const protocol::Reply& reply = response.replies.front();
      return protocol::to_error(reply, key, executor_.server(i), in_doubt(reply));
    }
    return Error(Errc::no_quorum, "too few servers agreed");
  }

 private:
  bool in_doubt(const protocol::Reply& reply) const noexcept {
    return script_ && reply.is_error() && protocol::leaves_script_in_doubt(reply.text);
  }

  static bool all_in(std::span<const Response> responses) noexcept {
    return std::all_of(responses.begin(), responses.end(), [](const Response& response) {
      return response.failure || !response.replies.empty();
    });
  }

  Executor& executor_;
  bool script_;
  // One server needs no memory from the heap.
  std::array<std::byte, sizeof(Response) + sizeof(Request) + 2 * alignof(Response)> room_;
  std::pmr::monotonic_buffer_resource memory_{room_.data(), room_.size()};
  std::pmr::vector<Response> responses_;
};

}  // namespace redlatch::detail
