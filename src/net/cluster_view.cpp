#include "net/cluster_view.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/io_error.hpp"
#include "net/told_address.hpp"

namespace redlatch::detail {
namespace {

using protocol::Reply;

[[noreturn]] void reject_map(const char* what) {
  throw IoError(Errc::protocol_error,
                std::string("the cluster's map of slots cannot be understood: ") + what);
}

[[noreturn]] void reject_primaries() {
  reject_map("it has more primaries than a cluster can have");
}

std::size_t slot_in(const Reply& reply) {
  const bool fits = reply.kind == Reply::Kind::integer && reply.integer >= 0 &&
                    reply.integer < static_cast<std::int64_t>(protocol::slots);
  if (!fits) reject_map("a slot is none");
  return static_cast<std::size_t>(reply.integer);
}

/// What a node has in place of the host name that it was to announce. It may be any node.
/// Source: the Redis documentation, "CLUSTER SLOTS".
constexpr std::string_view unknown_host = "?";

/// What a list of names and values has besides the host: the address of a node without a host name.
/// Empty if there is none.
std::string_view ip_in(const Reply& node) noexcept {
  if (node.elements.size() < 4) return {};
  const std::vector<Reply>& pairs = node.elements[3].elements;
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
    if (pairs[i].text == "ip" && pairs[i + 1].text != unknown_host) return pairs[i + 1].text;
  }
  return {};
}

/// A node: host, port, and more. Nothing if the asked node does not know the host of another one.
std::optional<Address> node_in(const Reply& reply, const Address& asked) {
  if (reply.elements.size() < 2) reject_map("a node has no host or no port");
  const Reply::Kind kind = reply.elements[0].kind;
  if (kind != Reply::Kind::string && kind != Reply::Kind::nil) reject_map("a host name is none");
  const Reply& port = reply.elements[1];
  const bool fits = port.kind == Reply::Kind::integer && port.integer >= 0 &&
                    port.integer <= std::int64_t{UINT16_MAX};
  if (!fits) reject_map("a port is none");
  if (port.integer == 0) return std::nullopt;
  std::string_view host = reply.elements[0].text;
  if (host == unknown_host) {
    host = ip_in(reply);
    if (host.empty()) return std::nullopt;
  }
  if (!host.empty() && !is_told_host(host)) reject_map("a host name is none");
  return Address{host.empty() ? asked.host : std::string(host),
                 static_cast<std::uint16_t>(port.integer)};
}

/// The id of a node; empty before Redis 4.
std::string node_id(const Reply& node) {
  return node.elements.size() < 3 ? std::string() : node.elements[2].text;
}

/// Takes the part in front of the first `end` out of the text, which then begins behind that.
std::string_view take_part(std::string_view& text, char end) noexcept {
  const std::string_view part = text.substr(0, text.find(end));
  text.remove_prefix(std::min(text.size(), part.size() + 1));
  return part;
}

/// A line of CLUSTER NODES. Words: id, address, flags, primary, ping, pong, epoch, link, slots.
struct NodeLine {
  std::string_view id;
  std::string_view flags;
  std::string_view primary;  // of a replica
  std::string_view epoch;
  std::string_view slots;  // the first of them
};

/// Empty words behind the end.
NodeLine read_node_line(std::string_view text) noexcept {
  std::array<std::string_view, 9> words{};
  for (std::string_view& word : words) word = take_part(text, ' ');
  return {words[0], words[2], words[3], words[6], words[8]};
}

/// Slots that are being moved are in brackets.
bool has_slots(const NodeLine& line) noexcept {
  return !line.slots.empty() && !line.slots.starts_with('[');
}

/// Whether enough nodes have found it silent for `cluster-node-timeout`. ("fail?": one node has.)
bool has_failed(const NodeLine& line) noexcept {
  for (std::string_view rest = line.flags; !rest.empty();) {
    if (take_part(rest, ',') == "fail") return true;
  }
  return false;
}

}  // namespace

void add_nodes(ClusterAnswer& answer, const Reply& cluster_nodes) {
  std::vector<NodeLine> lines;
  if (cluster_nodes.is_error()) return;
  for (std::string_view rest = cluster_nodes.text; !rest.empty();) {
    lines.push_back(read_node_line(take_part(rest, '\n')));
    const NodeLine& line = lines.back();
    if (!has_slots(line)) continue;
    answer.epoch = std::max(answer.epoch, told_number(line.epoch, UINT64_MAX).value_or(0));
  }
  const auto has_replica = [&](std::string_view node) {
    return std::ranges::any_of(lines, [&](const NodeLine& line) { return line.primary == node; });
  };
  for (const NodeLine& line : lines) {
    if (!has_slots(line)) continue;
    const bool may_be_replaced = has_replica(line.id);
    for (ClusterAnswer::Range& range : answer.ranges) {
      if (range.id != line.id) continue;
      range.may_be_replaced = may_be_replaced;
      range.has_failed = may_be_replaced && has_failed(line);
    }
  }
}

std::optional<std::chrono::milliseconds> read_node_timeout(const Reply& reply) noexcept {
  if (reply.elements.size() != 2) return std::nullopt;
  const auto number = told_number(reply.elements[1].text, UINT32_MAX);
  if (!number) return std::nullopt;
  return std::chrono::milliseconds(*number);
}

ClusterAnswer read_slots(const Reply& reply, const Address& asked) {
  ClusterAnswer answer;
  if (reply.kind != Reply::Kind::array) reject_map("it is no list");
  if (reply.elements.size() > protocol::slots)
    reject_map("it has more ranges than there are slots");
  for (const Reply& range : reply.elements) {
    if (range.elements.size() < 3) reject_map("a range has no node");
    const std::size_t first = slot_in(range.elements[0]);
    const std::size_t last = slot_in(range.elements[1]);
    if (first > last) reject_map("a range ends before it begins");
    for (std::size_t i = 2; i < range.elements.size(); ++i) {
      std::optional<Address> node = node_in(range.elements[i], asked);
      if (!node) continue;
      if (i == 2) answer.ranges.push_back({first, last, *node, node_id(range.elements[i])});
      const bool is_new = std::ranges::find(answer.nodes, *node) == answer.nodes.end();
      if (is_new && answer.nodes.size() < ClusterView::max_learned) {
        answer.nodes.push_back(*std::move(node));
      }
    }
  }
  return answer;
}

std::optional<Redirect> read_redirect(std::string_view error_reply, const Address& asked) {
  Redirect redirect;
  redirect.asks = error_reply.starts_with("ASK ");
  if (!redirect.asks && !error_reply.starts_with("MOVED ")) return std::nullopt;
  std::string_view rest = error_reply.substr(error_reply.find(' ') + 1);
  const std::size_t space = rest.find(' ');
  const std::size_t colon = rest.rfind(':');
  if (space == std::string_view::npos || colon == std::string_view::npos || colon < space) {
    return std::nullopt;
  }
  const auto slot = told_number(rest.substr(0, space), protocol::slots - 1);
  const auto port = told_number(rest.substr(colon + 1), UINT16_MAX);
  const std::string_view host = rest.substr(space + 1, colon - space - 1);
  const bool is_good = host.empty() || (is_told_host(host) && host != unknown_host);
  if (!slot || !port || *port == 0 || !is_good) return std::nullopt;
  redirect.slot = static_cast<std::size_t>(*slot);
  redirect.to = {host.empty() ? asked.host : std::string(host), static_cast<std::uint16_t>(*port)};
  return redirect;
}

ClusterView::ClusterView(std::vector<Address> named) : named_(std::move(named)), seats_(1) {
  seats_.reserve(max_seats);
  seats_[unknown_seat].slots = protocol::slots;
}

bool ClusterView::is_news(const ClusterAnswer& answer, TimePoint begun,
                          TimePoint now) const noexcept {
  if (answer.ranges.empty()) return false;
  if (answer.epoch > epoch_ || !is_known()) return true;
  if (answer.epoch == epoch_ || answer.epoch == 0) return begun >= begun_;
  return now - older_since_ >= memory;
}

/// Before anything changes, as changes that are not returned would never be followed.
void ClusterView::require_seats(const ClusterAnswer& answer) const {
  const auto taken =
      1 + static_cast<std::size_t>(std::ranges::count(seats_, false, &Seat::is_free));
  std::vector<Address> added;
  for (const ClusterAnswer::Range& range : answer.ranges) {
    const auto seat = find(range.primary);
    const bool has_seat = seat && !seats_[*seat].is_free();
    if (has_seat || std::ranges::find(added, range.primary) != added.end()) continue;
    if (taken + added.size() == max_seats) reject_primaries();
    added.push_back(range.primary);
  }
}

ClusterView::Changed ClusterView::take(const ClusterAnswer& answer, TimePoint begun,
                                       TimePoint now) {
  Changed changed;
  if (answer.epoch == 0 || answer.epoch >= epoch_) {
    older_since_ = {};
  } else if (older_since_ == TimePoint{}) {
    older_since_ = now;
  }
  if (!is_news(answer, begun, now)) return changed;
  require_seats(answer);
  std::vector<bool> had(seats_.size());
  for (std::size_t seat = 0; seat < had.size(); ++seat) had[seat] = !seats_[seat].is_free();
  // First of the nodes that have seats: without any slots, one would lose its seat to another node.
  for (const ClusterAnswer::Range& range : answer.ranges) {
    if (const auto seat = find(range.primary)) assign(range, *seat);
  }
  for (const ClusterAnswer::Range& range : answer.ranges) {
    assign(range, seat_for(range.primary, changed));
  }
  if (!is_known_) assign_unknown(seat_of(answer.ranges.front().first));
  for (std::size_t seat = 0; seat < had.size(); ++seat) {
    if (had[seat] && seats_[seat].slots == 0) changed.push_back(seat);
  }
  learned_ = answer.nodes;
  epoch_ = answer.epoch == 0 ? epoch_ : answer.epoch;
  begun_ = begun;
  older_since_ = {};
  is_known_ = true;
  return changed;
}

ClusterView::Changed ClusterView::move(std::size_t slot, const Address& to) {
  Changed changed;
  const std::size_t before = seat_of(slot);
  const std::size_t seat = seat_for(to, changed);
  if (seat == before) return changed;
  assign(slot, seat);
  if (before != unknown_seat && seats_[before].slots == 0) changed.push_back(before);
  return changed;
}

std::optional<std::size_t> ClusterView::find(const Address& address) const noexcept {
  const auto same = std::ranges::find(seats_, address, &Seat::address);
  if (same == seats_.end()) return std::nullopt;
  return static_cast<std::size_t>(same - seats_.begin());
}

/// A slot that no node serves is at any of them, which says so.
void ClusterView::assign_unknown(std::size_t seat) noexcept {
  for (std::size_t slot = 0; slot < protocol::slots; ++slot) {
    if (seat_of(slot) == unknown_seat) assign(slot, seat);
  }
}

std::size_t ClusterView::seat_at(const Address& address, Changed& changed) {
  const std::size_t seat = seat_for(address, changed);
  seats_[seat].awaits_slots = seats_[seat].slots == 0;
  return seat;
}

/// `awaits_slots`: of a node that awaits its first slots.
std::vector<ClusterView::Seat>::iterator ClusterView::free_seat(bool awaits_slots) noexcept {
  return std::find_if(seats_.begin() + unknown_seat + 1, seats_.end(), [&](const Seat& one) {
    return one.is_free() && one.awaits_slots == awaits_slots;
  });
}

/// A node that awaits its first slots loses its seat only where there is no other one left.
std::size_t ClusterView::seat_for(const Address& address, Changed& changed) {
  if (const auto same = find(address)) return *same;
  const bool are_all_made = seats_.size() == max_seats;
  auto free = free_seat(false);
  if (free == seats_.end() && are_all_made) free = free_seat(true);
  if (free == seats_.end()) {
    if (are_all_made) reject_primaries();
    free = seats_.insert(seats_.end(), Seat{});
  }
  free->address = address;
  free->awaits_slots = false;
  const auto seat = static_cast<std::size_t>(free - seats_.begin());
  changed.push_back(seat);
  return seat;
}

void ClusterView::assign(const ClusterAnswer::Range& range, std::size_t seat) noexcept {
  for (std::size_t slot = range.first; slot <= range.last; ++slot) assign(slot, seat);
}

void ClusterView::assign(std::size_t slot, std::size_t seat) noexcept {
  --seats_[seat_of(slot)].slots;
  ++seats_[seat].slots;
  seats_[seat].awaits_slots = false;
  slots_[slot].store(static_cast<std::uint16_t>(seat), std::memory_order_relaxed);
}

std::vector<Address> ClusterView::nodes() const {
  std::vector<Address> all = learned_;
  for (const Address& one : named_) {
    if (std::ranges::find(all, one) == all.end()) all.push_back(one);
  }
  return all;
}

}  // namespace redlatch::detail
