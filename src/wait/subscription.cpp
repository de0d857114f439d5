#include "wait/subscription.hpp"

#include <optional>
#include <utility>

#include <redlatch/protocol/queue.hpp>
#include <redlatch/token.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {
namespace {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

/// Appends what a message of the server says: ["message", channel, payload]. The payload of a
/// change is a list of keys, or nil for all keys.
void read(const Reply& reply, std::vector<Subscription::Message>& messages) {
  using Kind = Subscription::Message::Kind;
  if (reply.elements.size() != 3 || reply.elements[0].text != "message") return;
  const Reply& payload = reply.elements[2];
  if (reply.elements[1].text != protocol::invalidated) {
    if (const auto read = protocol::read_notification(payload.text)) {
      messages.push_back({read->is_grant() ? Kind::grant : Kind::refresh, std::string(read->key),
                          std::string(read->value)});
    }
  } else if (payload.kind == Reply::Kind::nil) {
    messages.push_back({.kind = Kind::flush});
  } else {
    for (const Reply& key : payload.elements) messages.push_back({Kind::change, key.text});
  }
}

}  // namespace

Subscription::Link Subscription::subscribe(TimePoint end, int cancel) {
  // One channel for the life of the client: entries that it has at the server name it, also across
  // a new connection.
  if (channel_.empty()) channel_ = "redlatch:" + make_token();
  Link link{std::make_unique<Connection>(connect(settings_, end, cancel))};
  // A proxy may close the connection at any of these. Only the last one is needed: the first two
  // ask for changes of keys.
  const auto ask_for = [&](const Command& command) {
    return ask(*link.connection->stream, *link.connection->transport, command, end);
  };
  Closings& closings = *settings_.closings;
  const TimePoint begun = BootClock::now();
  const bool watches = closings.in_a_row(Closings::Step::changes, begun) == 0;
  Reply id;
  Reply watching;
  Reply subscribed;
  try {
    if (watches) {
      id = ask_for(Command(Expect::anything, "CLIENT", "ID"));
      watching = ask_for(Command(Expect::anything, "SUBSCRIBE", protocol::invalidated));
    }
    subscribed = ask_for(Command(Expect::anything, "SUBSCRIBE", channel_));
  } catch (const IoError& error) {
    if (error.code() != Errc::unreachable) throw;
    if (watches) closings.note_closed(Closings::Step::changes, begun, BootClock::now());
    return {};
  }
  // `watching` may be refused by an ACL: then the first waiter asks by its timer, and misses
  // nothing.
  if (subscribed.is_error()) {
    throw IoError(protocol::classify(subscribed.text), protocol::explain(subscribed.text));
  }
  link.connection->transport->settle_down();
  if (!watches) return link;
  closings.note_answered(Closings::Step::changes);
  if (!watching.is_error()) link.number = id.integer;
  return link;
}

std::vector<Subscription::Message> Subscription::receive_available() const {
  std::vector<Message> messages;
  RespStream& stream = *link_.connection->stream;
  receive_into(stream, *link_.connection->transport);
  while (const std::optional<Reply> reply = stream.next_unasked()) {
    read(*reply, messages);
  }
  return messages;
}

void Subscription::abandon(bool in_use) noexcept {
  if (is_open()) link_.connection->transport->close();
  if (in_use) static_cast<void>(link_.connection.release());
  close();
  channel_.clear();
}

}  // namespace redlatch::detail
