#include "wait/subscription.hpp"

#include <cassert>
#include <optional>
#include <utility>

#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/side_key.hpp>
#include <redlatch/token.hpp>

#include "base/io_error.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {
namespace {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

/// Appends what a message of the server says: ["message", channel, payload], or "smessage" of a
/// channel of a slot. The payload of a change is a list of keys, or nil for all keys.
void read(const Reply& reply, std::vector<Subscription::Message>& messages) {
  using Kind = Subscription::Message::Kind;
  if (reply.elements.size() != 3 ||
      (reply.elements[0].text != "message" && reply.elements[0].text != "smessage")) {
    return;
  }
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

/// A user needs the right to the command and to the channel.
IoError refusal(std::string_view error_reply) {
  const Errc code = protocol::classify(error_reply);
  std::string text = protocol::explain(error_reply);
  if (code == Errc::not_permitted) {
    text += protocol::refuses_command(error_reply) ? ": +subscribe is missing"
                                                   : ": &redlatch:* is missing";
  }
  return {code, text};
}

}  // namespace

Subscription::Channel& Subscription::channel_of(std::string_view key, bool is_sharded) {
  Channels& channels = is_sharded ? sharded_ : plain_;
  const std::size_t slot = is_sharded ? protocol::slot_of(key) : 0;
  const auto found = channels.find(slot);
  if (found != channels.end()) return found->second;
  if (token_.empty()) token_ = make_token();
  std::string name(is_sharded ? protocol::shard_prefix : protocol::channel_prefix);
  name += token_;
  if (is_sharded) {
    name += ':';
    const auto digits =
        protocol::SlotDigits::from_to(protocol::checksum(name), static_cast<std::uint16_t>(slot));
    name.append(digits.data(), digits.size());
    assert(protocol::slot_of(name) == slot);
  }
  return channels.emplace(slot, Channel{.name = std::move(name)}).first->second;
}

Subscription::Link Subscription::subscribe(std::string_view key, TimePoint end, int cancel) {
  Link link{std::make_unique<Connection>(connect(settings_, end, cancel))};
  link.is_sharded = !settings_.endpoint.nodes.empty();
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
    subscribed = open_channel(link, key, end);
  } catch (const IoError& error) {
    if (error.code() != Errc::unreachable) throw;
    if (watches) closings.note_closed(Closings::Step::changes, begun, BootClock::now());
    return {};
  }
  // `watching` may be refused by an ACL: then the first waiter asks by its timer, and misses
  // nothing.
  if (protocol::redirection(subscribed) != protocol::Redirection::none) {
    settings_.topology->redirected(subscribed.text);
    throw NodesLearned();
  }
  if (subscribed.is_error()) throw refusal(subscribed.text);
  link.connection->transport->settle_down();
  if (!watches) return link;
  closings.note_answered(Closings::Step::changes);
  if (!watching.is_error()) link.number = id.integer;
  return link;
}

/// A server before Redis 7 has no channels of slots.
Reply Subscription::open_channel(Link& link, std::string_view key, TimePoint end) {
  const auto ask_for = [&](const char* how) {
    Channel& channel = channel_of(key, link.is_sharded);
    Reply reply = ask(*link.connection->stream, *link.connection->transport,
                      Command(Expect::anything, how, channel.name), end);
    channel.is_asked_for = channel.is_open = !reply.is_error();
    return reply;
  };
  if (link.is_sharded) {
    Reply reply = ask_for("SSUBSCRIBE");
    if (!reply.is_error() || !protocol::may_refuse_command(reply.text)) return reply;
    link.is_sharded = false;
  }
  return ask_for("SUBSCRIBE");
}

GrantAddress Subscription::address(std::string_view key) {
  Channel& channel = channel_of(key, link_.is_sharded);
  if (channel.is_open) return {.channel = channel.name, .subscriber = link_.number};
  if (!std::exchange(channel.is_asked_for, true)) {
    RespStream& stream = *link_.connection->stream;
    stream.append(
        Command(Expect::anything, link_.is_sharded ? "SSUBSCRIBE" : "SUBSCRIBE", channel.name));
    send_available(stream, *link_.connection->transport);
  }
  return {.is_pending = true};
}

void Subscription::close() noexcept {
  link_ = {};
  for (Channels* channels : {&plain_, &sharded_}) {
    for (auto& one : *channels) one.second.is_asked_for = one.second.is_open = false;
  }
}

/// Whether a channel of a slot has ended, as the slot was moved to another node.
bool Subscription::note_channel(const Reply& reply) noexcept {
  if (reply.is_error()) {  // to a SSUBSCRIBE: which one is not said
    settings_.topology->redirected(reply.text);
    for (auto& one : sharded_) one.second.is_asked_for &= one.second.is_open;
    return false;
  }
  if (reply.elements.size() != 3) return false;
  const bool begins = reply.elements[0].text == "ssubscribe";
  if (!begins && reply.elements[0].text != "sunsubscribe") return false;
  for (auto& one : sharded_) {
    if (one.second.name != reply.elements[1].text) continue;
    one.second.is_asked_for = one.second.is_open = begins;
  }
  return !begins;
}

std::vector<Subscription::Message> Subscription::receive_available() {
  std::vector<Message> messages;
  RespStream& stream = *link_.connection->stream;
  receive_into(stream, *link_.connection->transport);
  while (const std::optional<Reply> reply = stream.next_unasked()) {
    read(*reply, messages);
    // Waiters for this slot have to look where it is.
    if (link_.is_sharded && note_channel(*reply))
      messages.push_back({.kind = Message::Kind::flush});
  }
  return messages;
}

void Subscription::abandon(bool in_use) noexcept {
  if (is_open()) link_.connection->transport->close();
  if (in_use) static_cast<void>(link_.connection.release());
  close();
  token_.clear();
  plain_.clear();
  sharded_.clear();
}

}  // namespace redlatch::detail
