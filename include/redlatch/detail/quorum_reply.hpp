#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/validity.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// One question put to every server of an executor, and what came back. A majority decides; with
/// one server that is its answer.
class QuorumReply {
 public:
  QuorumReply(Executor& executor, const Request& request, ConnectPolicy policy)
      : executor_(executor),
        script_(request.commands.front().script() != nullptr),
        responses_(executor.servers(), &memory_) {
    const std::pmr::vector<Request> requests(responses_.size(), request, &memory_);
    executor_.execute(requests, responses_, settled, policy);
  }

  /// `read` turns the first reply of a server into its verdict. `refused` when neither side has
  /// enough.
  template <class Read>
  protocol::Vote vote(Read read) const {
    return vote(responses_, read);
  }
  template <class Read>
  static protocol::Vote vote(std::span<const Response> responses, Read read) {
    const std::size_t quorum = responses.size() / 2 + 1;
    if (count(responses, read, protocol::Vote::yes) >= quorum) return protocol::Vote::yes;
    return count(responses, read, protocol::Vote::no) > responses.size() - quorum
               ? protocol::Vote::no
               : protocol::Vote::refused;
  }

  /// Whether no answer that is still to come can make a difference.
  static bool settled(std::span<const Response> responses) {
    const std::size_t quorum = responses.size() / 2 + 1;
    const std::size_t yes = count(responses, protocol::ours, protocol::Vote::yes);
    const std::size_t no = count(responses, protocol::ours, protocol::Vote::no);
    const auto open =
        static_cast<std::size_t>(std::count_if(responses.begin(), responses.end(), is_open));
    if (yes >= quorum || no > responses.size() - quorum) return true;
    return yes + open < quorum && no + open <= responses.size() - quorum;
  }

  /// Whether all servers have answered.
  bool complete() const noexcept {
    return std::all_of(responses_.begin(), responses_.end(), [](const Response& response) {
      return !response.failure && !response.replies.empty();
    });
  }

  /// Whether some server has acted, or may have, and nobody takes care of that. With one server,
  /// what is in doubt because a connection failed is the executor's business.
  bool may_have_acted() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(), [&](const Response& response) {
      if (is_open(response)) return true;
      if (response.failure) return responses_.size() > 1 && response.failure->in_doubt();
      const protocol::Reply& reply = response.replies.front();
      return protocol::vote(reply) == protocol::Vote::yes || in_doubt(reply);
    });
  }

  /// Whether what was asked may have been done although it was not answered so.
  bool in_doubt() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(), [&](const Response& response) {
      if (is_open(response)) return true;
      if (response.failure) return response.failure->in_doubt();
      return in_doubt(response.replies.front());
    });
  }

  /// Confirms the lease by every server that gave it.
  template <class Read>
  void learn_given(Lease& lease, std::chrono::milliseconds ttl, Read read) const {
    lease.learn([&](Validity& validity) {
      for (std::size_t i = 0; i < responses_.size(); ++i) {
        const Response& response = responses_[i];
        if (response.failure || response.replies.empty()) continue;
        if (read(response.replies.front()) != protocol::Vote::yes) continue;
        validity.confirm(sent_of(response), ttl, i);
      }
    });
  }

  /// The same for a lease that was extended. What a server has not answered may still be carried
  /// out there, whatever the majority says.
  template <class Read>
  void learn_extended(Lease& lease, std::chrono::milliseconds ttl, Read read) const {
    learn_extended(lease, responses_, ttl, read);
  }
  template <class Read>
  static void learn_extended(Lease& lease, std::span<const Response> responses,
                             std::chrono::milliseconds ttl, Read read) {
    lease.learn([&](Validity& validity) {
      for (std::size_t i = 0; i < responses.size(); ++i) {
        if (responses[i].sent != TimePoint{}) learn_extended(validity, i, responses[i], ttl, read);
      }
    });
  }

  /// Whether a server that was to wait was asked to wait for less than the request has.
  bool are_cut_short() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(),
                       [](const Response& response) { return response.cut_short; });
  }

  /// The i-th reply of the first server that gave one, or null.
  const protocol::Reply* reply(std::size_t i) const noexcept {
    for (const Response& response : responses_) {
      if (response.replies.size() > i) return &response.replies[i];
    }
    return nullptr;
  }

  /// The first reply as a number; 0 when it is none.
  std::int64_t number() const noexcept {
    const protocol::Reply* const first = reply(0);
    return first != nullptr ? first->integer : 0;
  }

  /// Why the verdict is `refused`.
  Error error(std::string_view key) const {
    if (responses_.size() == 1) return error_of(0, key);
    std::string why = std::to_string(responses_.size() / 2 + 1) + " of " +
                      std::to_string(responses_.size()) + " servers have to agree";
    for (std::size_t i = 0; i < responses_.size(); ++i) {
      const Response& response = responses_[i];
      const bool said_no =
          !response.failure && !response.replies.empty() && !response.replies.front().is_error();
      if (!said_no && !is_open(response)) why.append("; ").append(error_of(i, {}).what());
    }
    return protocol::about(Errc::no_quorum, key, "all", why, in_doubt());
  }

 private:
  static Sent sent_of(const Response& response) noexcept {
    return {response.sent, response.connection};
  }
  template <class Read>
  static void learn_extended(Validity& validity, std::size_t server, const Response& response,
                             std::chrono::milliseconds ttl, Read read) {
    const Sent sent = sent_of(response);
    if (response.failure || response.replies.empty()) {
      if (!response.failure || response.failure->in_doubt()) validity.doubt(sent, ttl, server);
      return;
    }
    const protocol::Reply& reply = response.replies.front();
    switch (read(reply)) {
      case protocol::Vote::yes:
        return validity.confirm(sent, ttl, server);
      case protocol::Vote::no:
        return validity.deny(sent, server);
      case protocol::Vote::refused:
        // The error may be that of a proxy, which answers for a connection that it has lost.
        if (protocol::leaves_script_in_doubt(reply.text)) validity.doubt({sent.at}, ttl, server);
    }
  }

  bool in_doubt(const protocol::Reply& reply) const noexcept {
    return script_ && reply.is_error() && protocol::leaves_script_in_doubt(reply.text);
  }

  template <class Read>
  static std::size_t count(std::span<const Response> responses, Read read, protocol::Vote wanted) {
    return static_cast<std::size_t>(
        std::count_if(responses.begin(), responses.end(), [&](const Response& response) {
          return !response.failure && !response.replies.empty() &&
                 read(response.replies.front()) == wanted;
        }));
  }
  static bool is_open(const Response& response) noexcept {
    return !response.failure && response.replies.empty();
  }

  Error error_of(std::size_t server, std::string_view key) const {
    const Response& response = responses_[server];
    if (response.failure) return *response.failure;
    const protocol::Reply& reply = response.replies.front();
    return protocol::to_error(reply, key, executor_.server(server), in_doubt(reply));
  }

  Executor& executor_;
  bool script_;
  // One server needs no memory from the heap.
  std::array<std::byte, sizeof(Response) + sizeof(Request) + 2 * alignof(Response)> room_;
  std::pmr::monotonic_buffer_resource memory_{room_.data(), room_.size()};
  std::pmr::vector<Response> responses_;
};

}  // namespace redlatch::detail
