#include "net/cluster_view.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/io_error.hpp"
#include "complaint.hpp"
#include "replies.hpp"

namespace redlatch::test::cluster_view_test {
namespace {

using namespace std::chrono_literals;
using detail::ClusterAnswer;
using detail::ClusterView;
using detail::TimePoint;
using protocol::Reply;
using Changed = ClusterView::Changed;

const Address named{"seed.example", 6379};
const Address a{"10.0.0.1", 6379};
const Address b{"10.0.0.2", 6379};
const Address c{"10.0.0.3", 6379};
const Address d{"10.0.0.4", 6379};
constexpr std::size_t last = protocol::slots - 1;

TimePoint at(std::chrono::milliseconds time) { return TimePoint{} + 1h + time; }

ClusterAnswer says(std::uint64_t epoch, std::vector<ClusterAnswer::Range> ranges) {
  ClusterAnswer answer{.epoch = epoch, .ranges = std::move(ranges)};
  for (const ClusterAnswer::Range& one : answer.ranges) answer.nodes.push_back(one.primary);
  return answer;
}
/// Two primaries with half of the slots each.
ClusterAnswer halves(std::uint64_t epoch, const Address& low, const Address& high) {
  return says(epoch, {{0, 8191, low}, {8192, last, high}});
}

/// A view that has taken answers, each of which was asked for when it came.
struct View : ClusterView {
  explicit View(const std::vector<ClusterAnswer>& answers = {}) : ClusterView({named}) {
    for (const ClusterAnswer& one : answers) hear(one, 0ms);
  }
  Changed hear(const ClusterAnswer& answer, std::chrono::milliseconds time) {
    return take(answer, at(time), at(time));
  }
  Address owner(std::size_t slot) const { return address(seat_of(slot)); }
};

/// In the order of their numbers, each once.
std::set<std::size_t> seats_in(const Changed& changed) { return {changed.begin(), changed.end()}; }
using Seats = std::set<std::size_t>;

TEST(ClusterView, HasOneSeatWithoutANodeBeforeTheFirstAnswer) {
  const View view;
  EXPECT_FALSE(view.is_known());
  EXPECT_EQ(view.seats(), 1U);
  EXPECT_EQ(view.seat_of(0), ClusterView::unknown_seat);
  EXPECT_EQ(view.seat_of(last), ClusterView::unknown_seat);
  EXPECT_TRUE(view.address(ClusterView::unknown_seat).host.empty());
  EXPECT_EQ(view.nodes(), std::vector{named});
}

TEST(ClusterView, GivesEachPrimaryASeat) {
  View view;
  EXPECT_EQ(seats_in(view.hear(halves(1, a, b), 0ms)), (Seats{1, 2}));
  EXPECT_TRUE(view.is_known());
  EXPECT_EQ(view.seats(), 3U);
  EXPECT_EQ(view.owner(0), a);
  EXPECT_EQ(view.owner(8191), a);
  EXPECT_EQ(view.owner(8192), b);
  EXPECT_EQ(view.owner(last), b);
}

/// A client that asked no node about them would not know how long to wait for their owner.
TEST(ClusterView, GivesSlotsWithoutAnOwnerToANodeThatSaysSo) {
  View view;
  EXPECT_EQ(seats_in(view.hear(says(1, {{5, 6, a}, {9, 9, b}}), 0ms)), (Seats{1, 2}));
  EXPECT_EQ(view.owner(0), a);
  EXPECT_EQ(view.owner(9), b);
  EXPECT_EQ(view.owner(last), a);
  EXPECT_EQ(seats_in(view.hear(says(2, {{0, last, b}}), 1ms)), Seats{1});
}

TEST(ClusterView, ReportsNothingWhenNothingHasChanged) {
  View view({halves(1, a, b)});
  EXPECT_TRUE(view.hear(halves(1, a, b), 1ms).empty());
  EXPECT_TRUE(view.hear(halves(2, a, b), 2ms).empty());
  EXPECT_TRUE(view.hear(says(3, {{0, 8192, a}, {8193, last, b}}), 3ms).empty())
      << "a node that loses single slots answers MOVED for them";
  EXPECT_EQ(view.owner(8192), a);
}

TEST(ClusterView, ReportsASeatWhoseNodeHasLostItsLastSlot) {
  View view({halves(1, a, b)});
  EXPECT_FALSE(view.is_left(1));
  EXPECT_EQ(seats_in(view.hear(says(2, {{0, last, b}}), 1ms)), Seats{1});
  EXPECT_TRUE(view.is_left(1));
  EXPECT_EQ(view.owner(0), b);
  EXPECT_EQ(view.seat_of(0), 2U) << "seats keep their numbers";
}

TEST(ClusterView, ReportsTheSeatsOfBothNodesOfAFailover) {
  View view({halves(1, a, b)});
  const std::size_t before = view.seat_of(0);
  const Seats changed = seats_in(view.hear(halves(2, c, b), 1ms));
  EXPECT_TRUE(changed.contains(before));
  EXPECT_TRUE(changed.contains(view.seat_of(0)));
  EXPECT_EQ(view.owner(0), c);
  EXPECT_EQ(view.seat_of(last), 2U);
}

TEST(ClusterView, ReusesTheSeatOfANodeWithoutSlots) {
  View view({halves(1, a, b), says(2, {{0, last, b}})});
  EXPECT_EQ(seats_in(view.hear(halves(3, c, b), 1ms)), Seats{1});
  EXPECT_EQ(view.seats(), 3U);
  EXPECT_EQ(view.owner(0), c);
}

/// Whatever the order of the ranges is: the node that came for a part of the slots must not have
/// the seat of a node that keeps others.
TEST(ClusterView, KeepsTheSeatOfANodeAllOfWhoseSlotsAreOthersNow) {
  View view({halves(1, a, b)});
  const Changed changed = view.hear(says(2, {{0, 8191, b}, {8192, 9000, c}, {9001, last, a}}), 1ms);
  EXPECT_EQ(seats_in(changed), Seats{3});
  EXPECT_EQ(view.address(1), a);
  EXPECT_EQ(view.address(2), b);
  EXPECT_EQ(view.address(3), c);
  EXPECT_EQ(view.seat_of(last), 1U);
}

TEST(ClusterView, LeavesSlotsWithoutAnOwnerWhereTheyWere) {
  View view({halves(1, a, b)});
  EXPECT_TRUE(view.hear(says(2, {{0, 100, a}}), 1ms).empty());
  EXPECT_EQ(view.owner(200), a);
  EXPECT_EQ(view.owner(last), b);
}

TEST(ClusterView, IgnoresAnAnswerWithoutSlots) {
  View view;
  EXPECT_TRUE(view.hear({.epoch = 9, .ranges = {}, .nodes = {a}}, 0ms).empty());
  EXPECT_FALSE(view.is_known());
  view.hear(halves(1, a, b), 1ms);
  EXPECT_TRUE(view.hear({.epoch = 9, .ranges = {}, .nodes = {c}}, 2ms).empty());
  EXPECT_EQ(view.nodes(), (std::vector{a, b, named}));
}

TEST(ClusterView, BelievesTheNewestEpochWhateverTheOrderOfTheAnswers) {
  for (const bool newest_first : {true, false}) {
    View view;
    if (newest_first) view.hear(halves(8, c, b), 0ms);
    view.hear(halves(7, a, b), 1ms);
    if (!newest_first) view.hear(halves(8, c, b), 2ms);
    EXPECT_EQ(view.owner(0), c);
  }
}

/// A node that was stopped, and was asked last.
TEST(ClusterView, GoesNotBackToAnOlderEpoch) {
  View view({halves(8, c, b)});
  EXPECT_TRUE(view.hear(halves(7, a, b), 59s).empty());
  EXPECT_EQ(view.owner(0), c);
  EXPECT_EQ(view.nodes(), (std::vector{c, b, named}));
}

/// The map is asked for every minute, so an answer with the newest epoch may be older than that.
TEST(ClusterView, GoesNotBackToAnOlderEpochThatIsToldFirstAfterAMinute) {
  View view({halves(8, c, b)});
  EXPECT_TRUE(view.hear(halves(7, a, b), 66s).empty());
  EXPECT_EQ(view.owner(0), c);
  view.hear(halves(8, c, b), 66s);
  EXPECT_TRUE(view.hear(halves(7, a, b), 132s).empty()) << "the newest epoch was told in between";
  EXPECT_EQ(view.owner(0), c);
}

TEST(ClusterView, BelievesAClusterThatWasSetUpAnewAfterAMinute) {
  View view({halves(8, c, b)});
  view.hear(halves(2, a, b), 10s);
  EXPECT_EQ(view.owner(0), c);
  view.hear(halves(2, a, b), 70s - 1ms);
  EXPECT_EQ(view.owner(0), c);
  view.hear(halves(2, a, b), 70s);
  EXPECT_EQ(view.owner(0), a);
  view.hear(halves(3, b, a), 71s);
  EXPECT_EQ(view.owner(0), b) << "epochs count from the new one on";
}

TEST(ClusterView, BelievesTheAnswerOfOneEpochThatWasAskedForLast) {
  View view;
  view.take(halves(8, c, b), at(10ms), at(20ms));
  view.take(halves(8, a, b), at(9ms), at(30ms));
  EXPECT_EQ(view.owner(0), c) << "it has overtaken the other one";
  view.take(halves(8, a, b), at(11ms), at(30ms));
  EXPECT_EQ(view.owner(0), a);
  view.take(halves(9, c, b), at(0ms), at(40ms));
  EXPECT_EQ(view.owner(0), c) << "a newer epoch counts, whenever it was asked for";
}

TEST(ClusterView, TakesTheTimeOfAskingWhereANodeTellsNoEpoch) {
  View view;
  view.take(halves(0, a, b), at(10ms), at(20ms));
  EXPECT_EQ(view.owner(0), a);
  view.take(halves(0, c, b), at(9ms), at(30ms));
  EXPECT_EQ(view.owner(0), a);
  view.take(halves(0, c, b), at(20ms), at(30ms));
  EXPECT_EQ(view.owner(0), c);
}

TEST(ClusterView, RemembersTheEpochBehindAnAnswerWithoutOne) {
  View view({halves(8, a, b)});
  view.hear(halves(0, c, b), 1ms);
  EXPECT_EQ(view.owner(0), c);
  EXPECT_TRUE(view.hear(halves(7, a, b), 2ms).empty());
  EXPECT_EQ(view.owner(0), c);
}

TEST(ClusterView, MovesOneSlot) {
  View view({halves(1, a, b)});
  EXPECT_TRUE(view.move(5, b).empty());
  EXPECT_EQ(view.owner(4), a);
  EXPECT_EQ(view.owner(5), b);
  EXPECT_EQ(view.owner(6), a);
  EXPECT_TRUE(view.move(5, b).empty());
  EXPECT_TRUE(view.move(5, a).empty());
  EXPECT_EQ(view.owner(5), a);
}

TEST(ClusterView, MovesASlotToANodeThatWasNotKnown) {
  View view({halves(1, a, b)});
  EXPECT_EQ(seats_in(view.move(5, c)), Seats{3});
  EXPECT_EQ(view.owner(5), c);
  EXPECT_EQ(view.seats(), 4U);
}

TEST(ClusterView, ReportsASeatWhoseLastSlotWasMoved) {
  View view({says(1, {{0, last - 1, a}, {last, last, b}})});
  EXPECT_EQ(seats_in(view.move(last, a)), Seats{2});
  EXPECT_EQ(view.owner(last), a);
}

/// No map has come yet, as when a connection is older than that.
TEST(ClusterView, MovesASlotBeforeTheFirstAnswer) {
  View view;
  EXPECT_EQ(seats_in(view.move(5, a)), Seats{1});
  EXPECT_EQ(view.owner(5), a);
  EXPECT_EQ(seats_in(view.move(6, b)), Seats{2});
  EXPECT_EQ(view.owner(5), a);
  EXPECT_EQ(view.owner(6), b);
  EXPECT_FALSE(view.is_known());
}

TEST(ClusterView, SeatsANodeThatHasNoSlotsYet) {
  View view({halves(1, a, b)});
  Changed changed;
  EXPECT_EQ(view.seat_at(c, changed), 3U);
  EXPECT_FALSE(view.is_left(3)) << "commands about keys that move there are sent to it";
  EXPECT_EQ(seats_in(changed), Seats{3});
  changed.clear();
  EXPECT_EQ(view.seat_at(c, changed), 3U);
  EXPECT_EQ(view.seat_at(a, changed), 1U);
  EXPECT_TRUE(changed.empty());
  EXPECT_EQ(seats_in(view.hear(says(2, {{0, 8190, a}, {8191, 8191, c}, {8192, last, b}}), 1ms)),
            Seats{});
  EXPECT_EQ(view.seat_of(8191), 3U);
}

TEST(ClusterView, HasASeatForEachOfSeveralNodesThatHaveNoSlotsYet) {
  View view({halves(1, a, b)});
  Changed changed;
  EXPECT_EQ(view.seat_at(c, changed), 3U);
  EXPECT_EQ(view.seat_at(d, changed), 4U);
  changed.clear();
  EXPECT_EQ(view.seat_at(c, changed), 3U);
  EXPECT_EQ(view.seat_at(d, changed), 4U);
  EXPECT_TRUE(changed.empty());
  EXPECT_EQ(seats_in(view.move(5, d)), Seats{});
  // Without its first slot, it is a node like any other.
  EXPECT_EQ(seats_in(view.move(5, a)), Seats{4});
  EXPECT_EQ(seats_in(view.move(5, named)), Seats{4});
  EXPECT_EQ(view.address(3), c);
}

Address numbered(std::size_t number) { return {"n" + std::to_string(number), 1}; }

/// Each of so many nodes with one slot, and the last of them with the rest.
ClusterAnswer many(std::uint64_t epoch, std::size_t count, std::size_t from = 0) {
  ClusterAnswer answer{.epoch = epoch};
  for (std::size_t i = 0; i < count; ++i) {
    answer.ranges.push_back({i, i + 1 == count ? last : i, numbered(from + i)});
  }
  return answer;
}

/// All seats but `unknown_seat`.
constexpr std::size_t max_primaries = ClusterView::max_seats - 1;

TEST(ClusterView, HasABoundedNumberOfSeats) {
  View view;
  EXPECT_EQ(view.hear(many(1, max_primaries), 0ms).size(), max_primaries);
  EXPECT_EQ(view.seats(), ClusterView::max_seats);
  EXPECT_EQ(view.owner(max_primaries - 2), numbered(max_primaries - 2));
  EXPECT_THROW(view.move(5, a), detail::IoError);
  Changed changed;
  EXPECT_THROW(view.seat_at(a, changed), detail::IoError);
  EXPECT_EQ(view.owner(5), numbered(5));
  EXPECT_EQ(view.seats(), ClusterView::max_seats);
}

TEST(ClusterView, TakesASeatFromANodeThatAwaitsSlotsWhereThereIsNoOther) {
  View view;
  view.hear(many(1, max_primaries - 1), 0ms);
  Changed changed;
  const std::size_t seat = view.seat_at(a, changed);
  changed.clear();
  EXPECT_EQ(view.seat_at(b, changed), seat);
  EXPECT_EQ(seats_in(changed), Seats{seat});
}

/// Otherwise the topology would not get to know of the seats that have changed before that.
TEST(ClusterView, TakesNothingOfAnAnswerWithTooManyPrimaries) {
  View view({halves(1, a, b)});
  EXPECT_THROW(view.hear(many(2, max_primaries + 1), 1ms), detail::IoError);
  EXPECT_EQ(view.owner(0), a);
  EXPECT_EQ(view.owner(last), b);
  EXPECT_EQ(view.seats(), 3U);
  EXPECT_TRUE(view.hear(halves(1, a, b), 2ms).empty());
}

TEST(ClusterView, GivesAllSeatsToOthersWhenAllNodesAreReplaced) {
  View view({many(1, 500), many(2, 500, 1000)});
  EXPECT_EQ(view.owner(0), numbered(1000));
  EXPECT_EQ(view.owner(last), numbered(1499));
  view.hear(many(3, 500, 2000), 1ms);
  EXPECT_EQ(view.owner(last), numbered(2499));
  EXPECT_LE(view.seats(), 1001U);
}

TEST(ClusterView, NamesTheNodesOfTheLastAnswerAndThoseOfTheUrl) {
  View view({halves(1, a, b)});
  ClusterAnswer answer = halves(2, c, named);
  answer.nodes.push_back(d);
  view.hear(answer, 1ms);
  EXPECT_EQ(view.nodes(), (std::vector{c, named, d}));
}

// What the replies say

Reply node(const std::string& host, std::int64_t port) {
  return array({text(host), integer(port), text("id")});
}
Reply range(std::int64_t first, std::int64_t end, std::vector<Reply> nodes) {
  nodes.insert(nodes.begin(), {integer(first), integer(end)});
  return array(std::move(nodes));
}

struct Owned {
  std::size_t first;
  std::size_t last;
  Address primary;
  bool operator==(const Owned&) const = default;
};
void PrintTo(const Owned& one, std::ostream* out) {
  *out << one.first << '-' << one.last << " at " << one.primary.host << ':' << one.primary.port;
}
std::vector<Owned> ranges_in(const Reply& reply) {
  std::vector<Owned> all;
  for (const auto& one : detail::read_slots(reply, named).ranges) {
    all.push_back({one.first, one.last, one.primary});
  }
  return all;
}

TEST(ClusterSlots, NamePrimariesAndReplicas) {
  const ClusterAnswer answer = detail::read_slots(
      array({range(5461, 10922, {node("10.0.0.2", 6379), node("10.0.0.4", 6379)}),
             range(0, 5460, {node("10.0.0.1", 6379)})}),
      named);
  EXPECT_EQ(answer.epoch, 0U);
  ASSERT_EQ(answer.ranges.size(), 2U) << "in any order, and not all of them";
  EXPECT_EQ(answer.ranges[0].first, 5461U);
  EXPECT_EQ(answer.ranges[0].last, 10922U);
  EXPECT_EQ(answer.ranges[0].primary, b);
  EXPECT_EQ(answer.ranges[1].primary, a);
  EXPECT_EQ(answer.nodes, (std::vector{b, d, a}));
}

TEST(ClusterSlots, HaveTheFormsOfAllVersions) {
  const std::vector<Reply> forms{
      array({text("10.0.0.1"), integer(6379)}),
      array({text("10.0.0.1"), integer(6379), text("id")}),
      array({text("10.0.0.1"), integer(6379), text("id"), array({})}),
      array({text("10.0.0.1"), integer(6379), text("id"),
             array({text("hostname"), text("one.example")})}),
      array({text("10.0.0.1"), integer(6379), text("id"), array({}), text("to come")})};
  for (const Reply& form : forms) {
    EXPECT_EQ(ranges_in(array({range(0, 16383, {form})})), (std::vector<Owned>{{0, last, a}}));
  }
}

TEST(ClusterSlots, NameNodesByHostNameOrIpv6) {
  for (const char* host : {"one.example", "2001:db8::1", "fe80::1%eth0", "::1"}) {
    EXPECT_EQ(ranges_in(array({range(1, 1, {node(host, 65535)})})),
              (std::vector<Owned>{{1, 1, {host, 65535}}}));
  }
}

/// Of `cluster-preferred-endpoint-type unknown-endpoint`, and of a node that does not know its own
/// address yet.
TEST(ClusterSlots, WithoutAHostAreAtTheHostThatWasAsked) {
  const std::vector<Owned> here{{0, 7, {"seed.example", 7000}}};
  EXPECT_EQ(ranges_in(array({range(0, 7, {node("", 7000)})})), here);
  EXPECT_EQ(ranges_in(array({range(0, 7, {array({nil(), integer(7000), text("id")})})})), here);
}

/// Of `cluster-preferred-endpoint-type hostname` where a node announces none. With the host that
/// was asked, all nodes with the same port would be taken for one.
TEST(ClusterSlots, WithAnUnknownHostNameAreAtTheAddressThatIsToldBesides) {
  const Reply unknown = array({text("?"), integer(6379), text("id"),
                               array({text("x"), text("y"), text("ip"), text("10.0.0.1")})});
  EXPECT_EQ(ranges_in(array({range(0, 7, {unknown})})), (std::vector<Owned>{{0, 7, a}}));
  for (const Reply& more :
       {array({}), array({text("ip")}), array({text("ip"), text("")}),
        array({text("ip"), text("?")}), array({text("hostname"), text("h")}), nil(), text("ip")}) {
    const Reply nowhere = array({text("?"), integer(6379), text("id"), more});
    EXPECT_TRUE(ranges_in(array({range(0, 7, {nowhere})})).empty());
  }
  EXPECT_TRUE(ranges_in(array({range(0, 7, {node("?", 6379)})})).empty());
}

TEST(ClusterSlots, WithoutAPortHaveNoOwner) {
  const ClusterAnswer answer = detail::read_slots(
      array({range(0, 7, {node("10.0.0.1", 0), node("10.0.0.2", 6379)})}), named);
  EXPECT_TRUE(answer.ranges.empty()) << "a replica is not taken for the primary";
  EXPECT_EQ(answer.nodes, std::vector{b});
}

TEST(ClusterSlots, OfAClusterWithoutAnyAreNone) {
  const ClusterAnswer answer = detail::read_slots(array({}), named);
  EXPECT_TRUE(answer.ranges.empty());
  EXPECT_TRUE(answer.nodes.empty());
}

TEST(ClusterSlots, AreCheckedBeforeTheyAreUsed) {
  const Reply good = node("10.0.0.1", 6379);
  const std::vector<Reply> bad{nil(),
                               integer(3),
                               text("x"),
                               status("OK"),
                               array({integer(1)}),
                               array({nil()}),
                               array({array({})}),
                               array({range(0, 1, {})}),
                               array({range(-1, 5, {good})}),
                               array({range(0, 16384, {good})}),
                               array({range(16384, 16384, {good})}),
                               array({range(5, 4, {good})}),
                               array({range(INT64_MIN, INT64_MAX, {good})}),
                               array({array({text("0"), integer(5), good})}),
                               array({array({integer(0), nil(), good})}),
                               array({range(0, 5, {text("10.0.0.1:6379")})}),
                               array({range(0, 5, {array({})})}),
                               array({range(0, 5, {array({text("10.0.0.1")})})}),
                               array({range(0, 5, {array({text("10.0.0.1"), text("6379")})})}),
                               array({range(0, 5, {array({text("10.0.0.1"), nil()})})}),
                               array({range(0, 5, {array({integer(1), integer(6379)})})}),
                               array({range(0, 5, {array({array({}), integer(6379)})})}),
                               array({range(0, 5, {node("10.0.0.1", -1)})}),
                               array({range(0, 5, {node("10.0.0.1", 65536)})}),
                               array({range(0, 5, {node("a b", 1)})}),
                               array({range(0, 5, {node("h\r\n", 1)})}),
                               array({range(0, 5, {node(std::string("h\0", 2), 1)})}),
                               array({range(0, 5, {node(std::string(256, 'h'), 1)})}),
                               array({range(0, 5, {good, node("a b", 1)})}),  // also of a replica
                               array({range(0, 5, {good}), range(6, 5, {good})})};
  for (std::size_t i = 0; i < bad.size(); ++i) {
    EXPECT_NE(complaint([&] {
                detail::read_slots(bad[i], named);
              }).find("map of slots cannot be understood"),
              std::string::npos)
        << i;
  }
}

TEST(ClusterSlots, AreNoMoreThanThereAre) {
  std::vector<Reply> all;
  for (int i = 0; i < 16384; ++i) all.push_back(range(i, i, {node("10.0.0.1", 6379)}));
  EXPECT_EQ(ranges_in(array(all)).size(), protocol::slots);
  all.push_back(range(0, 0, {node("10.0.0.1", 6379)}));
  EXPECT_NE(complaint([&] { detail::read_slots(array(all), named); }), "");
}

TEST(ClusterSlots, NameABoundedNumberOfNodes) {
  std::vector<Reply> nodes;
  for (int i = 0; i < 2000; ++i) nodes.push_back(node("n" + std::to_string(i), 1));
  EXPECT_EQ(detail::read_slots(array({range(0, 1, nodes)}), named).nodes.size(),
            ClusterView::max_learned);
}

ClusterAnswer with_nodes(const Reply& reply, std::vector<ClusterAnswer::Range> ranges = {}) {
  ClusterAnswer answer{.ranges = std::move(ranges)};
  detail::add_nodes(answer, reply);
  return answer;
}

TEST(ClusterNodesReply, HasTheNewestEpochOfThoseThatHaveSlots) {
  const auto epoch = [](const std::string& nodes) { return with_nodes(text(nodes)).epoch; };
  const std::string line = "id a:1@2,host master - 0 0 ";
  EXPECT_EQ(epoch(line + "17 connected 0-5460\n"), 17U);
  EXPECT_EQ(epoch(line + "17 connected 5 7-9 [93-<-id]"), 17U);
  EXPECT_EQ(epoch(line + "18446744073709551615 connected 5"), UINT64_MAX);
  EXPECT_EQ(epoch(line + "3 connected 1\n" + line + "9 connected 2\n" + line + "4 connected 3\n"),
            9U);
  EXPECT_EQ(epoch("id a:1@2 slave other 0 0 9 connected\n" + line + "3 connected 1\n"), 3U);
  for (const std::string& none :
       {std::string(), std::string("\n\n"), line, line + "17 connected", line + "17 connected\n",
        line + "17 connected [93-<-id]\n", line + "x connected 1", line + "-1 connected 1",
        line + " 17 connected 1", line + "18446744073709551616 connected 1"}) {
    EXPECT_EQ(epoch(none), 0U) << none;
  }
  EXPECT_EQ(with_nodes(nil()).epoch, 0U);
  EXPECT_EQ(with_nodes(refusal("ERR id a:1@2 master - 0 0 5 connected 1")).epoch, 0U);
}

TEST(ClusterNodesReply, NamesThePrimariesThatHaveFailedAndHaveAReplica) {
  const auto failed = [](const std::string& flags, const std::string& replica) {
    const Reply nodes = text("one a:1@2 " + flags + " - 0 0 1 disconnected 0-9\n" +  //
                             "two b:1@2 master - 0 0 2 connected 10-16383\n" + replica);
    const auto answer =
        with_nodes(nodes, {{0, 4, a, "one"}, {5, 9, a, "one"}, {10, last, b, "two"}});
    EXPECT_EQ(answer.ranges[0].has_failed, answer.ranges[1].has_failed);
    EXPECT_FALSE(answer.ranges[2].has_failed);
    return answer.ranges[0].has_failed;
  };
  const std::string replica = "three c:1@2 slave one 0 0 1 connected\n";
  EXPECT_TRUE(failed("master,fail", replica));
  EXPECT_TRUE(failed("fail,master", replica));
  EXPECT_FALSE(failed("master", replica));
  EXPECT_FALSE(failed("master,fail?", replica)) << "that is the word of this node alone";
  EXPECT_FALSE(failed("master,fail", "")) << "nothing can replace it";
  EXPECT_FALSE(failed("master,fail", "three c:1@2 slave two 0 0 1 connected\n"));
}

/// Whatever has become of the replica: it may be back before that is told.
TEST(ClusterNodesReply, NamesThePrimariesThatHaveNoReplica) {
  const auto may_be_replaced = [](const Reply& nodes) {
    return with_nodes(nodes, {{0, last, a, "one"}}).ranges[0].may_be_replaced;
  };
  const std::string primary = "one a:1@2 master - 0 0 1 connected 0-16383\n";
  const std::string others = "two b:1@2 master - 0 0 2 connected\nthree c:1@2 slave two 0 0 2 x\n";
  EXPECT_FALSE(may_be_replaced(text(primary)));
  EXPECT_FALSE(may_be_replaced(text(primary + others)));
  EXPECT_TRUE(may_be_replaced(text(primary + "two b:1@2 slave,fail one 0 0 1 disconnected\n")));
  EXPECT_TRUE(may_be_replaced(text("two a:1@2 master - 0 0 1 connected 0-16383\n")));
  EXPECT_TRUE(may_be_replaced(text("")));
  EXPECT_TRUE(may_be_replaced(refusal("NOPERM no permissions")));
}

TEST(ClusterNodeTimeout, IsANumberOfMilliseconds) {
  const auto read = [](std::vector<Reply> parts) {
    return detail::read_node_timeout(array(std::move(parts)));
  };
  EXPECT_EQ(read({text("cluster-node-timeout"), text("15000")}), 15s);
  EXPECT_EQ(read({}), std::nullopt);
  EXPECT_EQ(read({text("cluster-node-timeout"), text("soon")}), std::nullopt);
  EXPECT_EQ(read({text("cluster-node-timeout"), text("-1")}), std::nullopt);
  EXPECT_EQ(read({text("cluster-node-timeout")}), std::nullopt);
  EXPECT_EQ(detail::read_node_timeout(refusal("NOPERM no permissions")), std::nullopt);
}

TEST(ClusterRedirect, SaysWhereTheSlotIs) {
  const auto moved = detail::read_redirect("MOVED 3999 127.0.0.1:6381", named);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->slot, 3999U);
  EXPECT_EQ(moved->to, (Address{"127.0.0.1", 6381}));
  EXPECT_FALSE(moved->asks);
  const auto asks = detail::read_redirect("ASK 16383 one.example:65535", named);
  ASSERT_TRUE(asks);
  EXPECT_EQ(asks->slot, last);
  EXPECT_EQ(asks->to, (Address{"one.example", 65535}));
  EXPECT_TRUE(asks->asks);
}

TEST(ClusterRedirect, NamesAnIpv6AddressWithoutBrackets) {
  const auto redirect = detail::read_redirect("MOVED 0 2001:db8::1:6381", named);
  ASSERT_TRUE(redirect);
  EXPECT_EQ(redirect->to, (Address{"2001:db8::1", 6381}));
}

TEST(ClusterRedirect, WithoutAHostIsToTheHostThatWasAsked) {
  const auto redirect = detail::read_redirect("MOVED 0 :7000", named);
  ASSERT_TRUE(redirect);
  EXPECT_EQ(redirect->to, (Address{"seed.example", 7000}));
}

TEST(ClusterRedirect, IsCheckedBeforeItIsFollowed) {
  for (const char* bad : {"",
                          "MOVED",
                          "MOVED ",
                          "ASK",
                          "MOVED 1",
                          "MOVED 1 ",
                          "MOVED 1 h",
                          "MOVED 1 h:",
                          "MOVED h:1",
                          "MOVED 16384 h:1",
                          "MOVED -1 h:1",
                          "MOVED x h:1",
                          "MOVED  h:1",
                          "MOVED 1 h:0",
                          "MOVED 1 h:65536",
                          "MOVED 1 h:x",
                          "MOVED 1 h:1 ",
                          "MOVED 1 h:1 more",
                          "MOVED 1 a b:1",
                          "MOVED 1 h\n:1",
                          "moved 1 h:1",
                          "MOVEDX 1 h:1",
                          "ERR MOVED 1 h:1",
                          "TRYAGAIN 1 h:1",
                          "CLUSTERDOWN 1 h:1",
                          "MOVED 1 ?:6379",
                          "MOVED 99999999999999999999 h:1"}) {
    EXPECT_FALSE(detail::read_redirect(bad, named)) << bad;
  }
  EXPECT_FALSE(detail::read_redirect("MOVED 1 " + std::string(256, 'h') + ":1", named));
}

}  // namespace
}  // namespace redlatch::test::cluster_view_test
