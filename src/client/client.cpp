#include <array>
#include <utility>

#include <redlatch/client.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

#include "client/client_core.hpp"

namespace redlatch {

Client::Client(std::string_view url, ClientOptions options)
    : executor_(std::make_shared<detail::ClientCore>(url, std::move(options))) {}

Metrics Client::metrics() const { return executor_->metrics(); }

// With the key "", which has a connection like any other key: no lock has it.
void Client::ping() {
  const protocol::Command ping(protocol::Expect::status, "PING");
  const std::array<detail::Request, 1> requests{{{.key = {}, .commands = {&ping, 1}}}};
  std::array<detail::Response, 1> responses;
  executor_->execute(requests, responses, nullptr, detail::ConnectPolicy::separate_timeout);
  if (responses[0].failure) throw *responses[0].failure;
  const protocol::Reply& reply = responses[0].replies.front();
  if (reply.is_error()) throw protocol::to_error(reply, {}, executor_->server(0), false);
}

}  // namespace redlatch
