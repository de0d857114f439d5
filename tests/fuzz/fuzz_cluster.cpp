#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/side_key.hpp>

#include "base/io_error.hpp"
#include "net/cluster_view.hpp"
#include "net/reply_reader.hpp"
#include "require.hpp"

// Whatever the nodes of a cluster reply, the view has an owner for each slot, and reports each seat
// whose node has changed. The input is what they send: a text is a reply to CLUSTER NODES, a list
// one to CLUSTER SLOTS with the epoch of the last text, an error a redirect, and with an integer
// so many milliseconds pass.

namespace {

using redlatch::Address;
using redlatch::detail::ClusterAnswer;
using redlatch::detail::ClusterView;
using redlatch::detail::IoError;
using redlatch::detail::ReplyReader;
using redlatch::detail::TimePoint;
using redlatch::protocol::Reply;
using Changed = ClusterView::Changed;

constexpr std::size_t slots = redlatch::protocol::slots;

const Address asked{"asked.example", 6379};

bool is_good(const Address& address) {
  return !address.host.empty() && address.host.size() <= 255 && address.port != 0;
}

/// What a view shows.
struct State {
  explicit State(const ClusterView& view) {
    for (std::size_t seat = 0; seat < view.seats(); ++seat) addresses.push_back(view.address(seat));
    for (std::size_t slot = 0; slot < slots; ++slot)
      seats[slot] = static_cast<std::uint16_t>(view.seat_of(slot));
  }
  bool operator==(const State&) const = default;

  const Address& owner(std::size_t slot) const { return addresses[seats[slot]]; }
  std::vector<std::size_t> counts() const {
    std::vector<std::size_t> of(addresses.size());
    for (const std::size_t seat : seats) ++of[seat];
    return of;
  }

  std::vector<Address> addresses{};
  std::array<std::uint16_t, slots> seats{};
};

/// A view, and what is required of each of its changes.
class Checked {
 public:
  void take(ClusterAnswer answer) {
    redlatch::detail::add_nodes(answer, nodes_);
    const bool is_newest = !answer.ranges.empty() && answer.epoch > newest_;
    const bool is_old =
        answer.epoch != 0 && answer.epoch < newest_ && now_ - newest_at_ < ClusterView::memory;
    change([&](Changed& changed) { changed = view_.take(answer, now_, now_); });
    if (has_failed_) return;
    if (is_old) require(after_ == before_, "an older epoch is not believed");
    if (!is_newest) return;
    newest_ = answer.epoch;
    newest_at_ = now_;
    std::vector<const Address*> owners(slots, nullptr);
    for (const ClusterAnswer::Range& range : answer.ranges) {
      for (std::size_t slot = range.first; slot <= range.last; ++slot)
        owners[slot] = &range.primary;
    }
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const bool was_known = before_.seats[slot] != ClusterView::unknown_seat;
      require(after_.seats[slot] != ClusterView::unknown_seat, "each slot is at a node");
      require(owners[slot] == nullptr ? !was_known || after_.seats[slot] == before_.seats[slot]
                                      : after_.owner(slot) == *owners[slot],
              "a slot is at its primary, and without one where it was");
    }
  }

  void redirect(std::string_view error_reply) {
    const auto redirect = redlatch::detail::read_redirect(error_reply, asked);
    if (!redirect) return;
    require(is_good(redirect->to) && redirect->slot < slots, "a redirect can be followed");
    if (redirect->asks) {
      std::size_t seat = 0;
      change([&](Changed& changed) { seat = view_.seat_at(redirect->to, changed); });
      if (has_failed_) return;
      require(after_.addresses[seat] == redirect->to, "a node has a seat");
      require(after_.seats == before_.seats, "an ASK moves no slot");
    } else {
      change([&](Changed& changed) { changed = view_.move(redirect->slot, redirect->to); });
      if (!has_failed_) require(after_.owner(redirect->slot) == redirect->to, "a slot is moved");
    }
  }

  void hear(Reply nodes) { nodes_ = std::move(nodes); }
  void pass(std::int64_t time) {
    now_ += std::chrono::milliseconds(std::clamp<std::int64_t>(time, 0, 100'000));
  }

 private:
  template <class Function>
  void change(Function function) {
    Changed changed;
    has_failed_ = false;
    before_ = after_;
    try {
      function(changed);
    } catch (const IoError& error) {
      require(error.code() == redlatch::Errc::protocol_error, "the error is protocol_error");
      has_failed_ = true;
    }
    after_ = State(view_);
    if (has_failed_) require(after_ == before_, "what fails changes nothing");
    check(changed);
  }

  void check(const Changed& changed) const {
    const std::size_t count = after_.addresses.size();
    require(count >= before_.addresses.size() && count <= ClusterView::max_seats,
            "seats stay, and are bounded");
    const auto had = before_.counts();
    const auto has = after_.counts();
    for (std::size_t seat = 0; seat < count; ++seat) {
      const bool is_new = seat >= before_.addresses.size();
      const bool is_other = is_new || after_.addresses[seat] != before_.addresses[seat];
      const bool is_of_node = seat != ClusterView::unknown_seat;
      const bool is_left = is_of_node && !is_new && had[seat] > 0 && has[seat] == 0;
      const bool is_reported = std::ranges::find(changed, seat) != changed.end();
      require(is_reported == (is_other || is_left), "each seat with another node is reported");
      require(is_of_node ? is_good(after_.addresses[seat]) : after_.addresses[seat].host.empty(),
              "a node has an address");
    }
    for (const std::size_t seat : after_.seats) require(seat < count, "each slot has a seat");
    std::vector<std::string> names;
    for (const Address& one : after_.addresses) {
      names.push_back(one.host + ' ' + std::to_string(one.port));
    }
    std::ranges::sort(names);
    require(std::ranges::adjacent_find(names) == names.end(), "no node has two seats");
    const std::vector<Address> nodes = view_.nodes();
    require(nodes.size() <= ClusterView::max_learned + 1 &&
                std::ranges::find(nodes, asked) != nodes.end(),
            "the nodes to be asked are bounded, with that of the URL");
  }

  ClusterView view_{{asked}};
  State before_{view_};
  State after_{view_};
  bool has_failed_ = false;
  Reply nodes_{};             // the last reply to CLUSTER NODES
  std::uint64_t newest_ = 0;  // of an answer that was taken
  TimePoint newest_at_{};
  TimePoint now_{std::chrono::hours{1}};
};

void check(Checked& view, const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::array:
      try {
        const ClusterAnswer answer = redlatch::detail::read_slots(reply, asked);
        require(answer.nodes.size() <= ClusterView::max_learned && answer.ranges.size() <= slots,
                "what is read is bounded");
        for (const auto& range : answer.ranges) {
          require(range.first <= range.last && range.last < slots && is_good(range.primary),
                  "a range can be used");
        }
        for (const Address& node : answer.nodes) require(is_good(node), "a node can be asked");
        view.take(answer);
      } catch (const IoError& error) {
        require(error.code() == redlatch::Errc::protocol_error, "the error is protocol_error");
      }
      return;
    case Reply::Kind::error:
      return view.redirect(reply.text);
    case Reply::Kind::integer:
      return view.pass(reply.integer);
    default:
      return view.hear(reply);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ReplyReader reader;
  Checked view;
  try {
    reader.feed({reinterpret_cast<const char*>(data), size});
    while (const std::optional<Reply> reply = reader.next()) check(view, *reply);
  } catch (const IoError&) {
    return 0;  // no replies: see fuzz_reply
  }
  return 0;
}
