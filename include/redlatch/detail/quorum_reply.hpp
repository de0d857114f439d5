#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/request_transport.hpp>
#include <redlatch/detail/validity.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// The name of the servers of a quorum, where something concerns all of them.
constexpr std::string_view all_servers = "all";

/// One request to every server of an executor, and the replies. A majority decides; with one
/// server, its reply does.
class QuorumReply {
 public:
  QuorumReply(RequestTransport& transport, const Request& request, ConnectPolicy policy)
      : transport_(transport),
        script_(request.commands.front().script() != nullptr),
        responses_(transport.servers(), &memory_) {
    const std::pmr::vector<Request> requests(responses_.size(), request, &memory_);
    transport_.execute(requests, responses_, settled, policy);
  }

  /// The decision of the majority; `refused` if there is none. `read` turns the first reply of a
  /// server into its vote.
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

  /// Whether no reply that is still to come can change the decision.
  static bool settled(std::span<const Response> responses) {
    const std::size_t quorum = responses.size() / 2 + 1;
    const std::size_t yes = count(responses, protocol::ours, protocol::Vote::yes);
    const std::size_t no = count(responses, protocol::ours, protocol::Vote::no);
    const auto open =
        static_cast<std::size_t>(std::count_if(responses.begin(), responses.end(), is_open));
    if (yes >= quorum || no > responses.size() - quorum) return true;
    return yes + open < quorum && no + open <= responses.size() - quorum;
  }

  /// Of a release: whether a server may still have the lease, or get it. One of several servers may
  /// have answered "not ours" before an acquisition that it has not answered arrives.
  bool leaves_lease() const noexcept {
    if (responses_.size() == 1) return vote(protocol::ours) == protocol::Vote::refused;
    return count(responses_, protocol::ours, protocol::Vote::yes) < responses_.size();
  }

  /// Whether a server has carried the request out, or may have, and its cleanup is up to the
  /// caller. With one server, the executor cleans up after a failed connection.
  bool may_have_acted() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(), [&](const Response& response) {
      if (is_open(response)) return true;
      if (response.failure) return responses_.size() > 1 && response.failure->in_doubt();
      const protocol::Reply& reply = response.replies.front();
      return protocol::vote(reply) == protocol::Vote::yes || in_doubt(reply);
    });
  }

  /// Whether a server may have carried the request out although no reply says so.
  bool in_doubt() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(), [&](const Response& response) {
      if (is_open(response)) return true;
      if (response.failure) return response.failure->in_doubt();
      return in_doubt(response.replies.front());
    });
  }

  /// Confirms the lease for every server that granted it.
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

  /// Updates the lease after an extension, for every server: a server that has not answered may
  /// still carry the extension out, whatever the majority has answered.
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

  /// Whether a shared WAIT was shorter than the time that the request has.
  bool are_cut_short() const noexcept {
    return std::any_of(responses_.begin(), responses_.end(),
                       [](const Response& response) { return response.cut_short; });
  }

  /// The i-th reply of the first server that has one, or null.
  const protocol::Reply* reply(std::size_t i) const noexcept {
    for (const Response& response : responses_) {
      if (response.replies.size() > i) return &response.replies[i];
    }
    return nullptr;
  }

  /// The first reply as a number; 0 if it is not one.
  std::int64_t number() const noexcept {
    const protocol::Reply* const first = reply(0);
    return first != nullptr ? first->integer : 0;
  }

  /// Why the vote is `refused`. `read`: as of the vote.
  template <class Read = protocol::Vote (*)(const protocol::Reply&)>
  Error error(std::string_view key, Read read = protocol::ours) const {
    if (responses_.size() == 1) return error_of(0, key);
    const NoMajority why = no_majority(transport_, responses_, script_, read);
    return protocol::about(why.code, key, std::string(all_servers), why.text, in_doubt());
  }
  /// Why there is no majority. `text`: how many servers have voted for what, and which have failed
  /// with which error. `code`: `no_quorum`, unless so
  /// many servers have failed with errors that are not transient that the others are no majority,
  /// so that another attempt would end in the same way; then that of the first of these errors.
  struct NoMajority {
    Errc code = Errc::no_quorum;
    std::string text{};
  };
  /// `script`: the request was one.
  template <class Read>
  static NoMajority no_majority(const RequestTransport& transport,
                                std::span<const Response> responses, bool script, Read read) {
    const std::size_t quorum = responses.size() / 2 + 1;
    const auto voted_for = [&](protocol::Vote wanted) {
      return std::to_string(count(responses, read, wanted));
    };
    NoMajority why{.text = std::to_string(quorum) + " of " + std::to_string(responses.size()) +
                           " servers have to agree (" + voted_for(protocol::Vote::yes) + " yes, " +
                           voted_for(protocol::Vote::no) + " no)"};
    std::optional<Errc> first;
    std::size_t lasting = 0;  // failures that are not transient
    for (std::size_t i = 0; i < responses.size(); ++i) {
      const Response& response = responses[i];
      const bool voted =
          !response.failure && !response.replies.empty() && !response.replies.front().is_error();
      if (voted || is_open(response)) continue;
      const Error error = error_of(transport, response, i, {}, script);
      why.text.append("; ").append(error.what());
      if (error.transient()) continue;
      ++lasting;
      if (!first) first = static_cast<Errc>(error.code().value());
    }
    if (lasting > responses.size() - quorum) why.code = *first;
    return why;
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
        // Perhaps the error of a proxy that has lost its own connection to the server: the command
        // may still arrive on it, so no later reply on this connection settles the doubt.
        if (protocol::leaves_script_in_doubt(reply.text)) validity.doubt({sent.at}, ttl, server);
    }
  }

  static bool in_doubt(const protocol::Reply& reply, bool script) noexcept {
    return script && reply.is_error() && protocol::leaves_script_in_doubt(reply.text);
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

  bool in_doubt(const protocol::Reply& reply) const noexcept { return in_doubt(reply, script_); }

  Error error_of(std::size_t server, std::string_view key) const {
    return error_of(transport_, responses_[server], server, key, script_);
  }
  static Error error_of(const RequestTransport& transport, const Response& response,
                        std::size_t server, std::string_view key, bool script) {
    if (response.failure) return *response.failure;
    const protocol::Reply& reply = response.replies.front();
    return protocol::to_error(reply, key, transport.server(server), in_doubt(reply, script));
  }

  RequestTransport& transport_;
  bool script_;
  // Memory for one server, so that its request needs none from the heap.
  std::array<std::byte, sizeof(Response) + sizeof(Request) + 2 * alignof(Response)> room_;
  std::pmr::monotonic_buffer_resource memory_{room_.data(), room_.size()};
  std::pmr::vector<Response> responses_;
};

}  // namespace redlatch::detail
