#include "net/node_reports.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "net/cluster_view.hpp"

namespace redlatch::test::node_reports_test {
namespace {

using namespace std::chrono_literals;
using detail::ClusterAnswer;
using detail::ClusterView;
using detail::NodeReports;
using detail::TimePoint;
using Verdict = NodeReports::Verdict;

constexpr std::size_t last = protocol::slots - 1;

TimePoint at(std::chrono::milliseconds time) { return TimePoint(1h) + time; }
Address node(std::size_t number) { return {"n" + std::to_string(number), 1}; }

/// Primaries 0, 1, ... with equal shares of the slots, and seats in the same order.
class NodeReportsOfPrimaries : public testing::Test {
 protected:
  explicit NodeReportsOfPrimaries(std::size_t primaries = 4) : count(primaries) {
    view.take(map(), at(0ms), at(0ms));
    reports.follow_view();
  }

  ClusterAnswer map(std::optional<std::size_t> failed = {}) const {
    ClusterAnswer answer{.epoch = 1};
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t end = i + 1 == count ? last : (i + 1) * 1000 - 1;
      answer.ranges.push_back({.first = i * 1000,
                               .last = end,
                               .primary = node(i),
                               .id = std::to_string(i),
                               .has_failed = failed == i});
      answer.nodes.push_back(node(i));
    }
    return answer;
  }
  std::size_t seat(std::size_t number) const { return view.seat_of(number * 1000); }
  void answers(std::size_t number, std::chrono::milliseconds asked,
               std::optional<std::size_t> failed = {}) {
    reports.note_answer(node(number), map(failed), at(asked), at(asked));
  }
  /// Of node 0, from 100 ms on.
  Verdict verdict() const { return reports.verdict(seat(0), at(100ms)); }

  const std::size_t count;
  ClusterView view{std::vector<Address>{}};
  NodeReports reports{view};
  std::minstd_rand random{1};
};

TEST_F(NodeReportsOfPrimaries, SettleANodeForWhichTwoOthersVouch) {
  EXPECT_EQ(verdict(), Verdict::unknown);
  answers(1, 100ms);
  EXPECT_EQ(verdict(), Verdict::well);
  answers(2, 100ms);
  EXPECT_EQ(verdict(), Verdict::settled);
}

TEST_F(NodeReportsOfPrimaries, DoNotCountAnswersToOlderQuestions) {
  for (std::size_t i = 1; i < count; ++i) answers(i, 99ms);
  EXPECT_EQ(verdict(), Verdict::unknown);
}

TEST_F(NodeReportsOfPrimaries, DoNotCountTheNodeItselfBeforeItCanKnow) {
  answers(0, 100ms);
  EXPECT_EQ(verdict(), Verdict::unknown);
  answers(0, 100ms + NodeReports::max_ignorance);
  EXPECT_EQ(verdict(), Verdict::well);
}

TEST_F(NodeReportsOfPrimaries, SayOfANodeThatOneTakesItForFailed) {
  answers(1, 100ms);
  answers(2, 100ms, 0);
  EXPECT_EQ(verdict(), Verdict::failed);
  answers(2, 110ms);
  EXPECT_EQ(verdict(), Verdict::settled) << "its newer answer counts";
}

TEST_F(NodeReportsOfPrimaries, SayOfANodeThatOneGivesItNoSlots) {
  ClusterAnswer other = map();
  other.ranges.front().primary = node(1);
  reports.note_answer(node(1), other, at(100ms), at(100ms));
  EXPECT_EQ(verdict(), Verdict::failed);
}

TEST_F(NodeReportsOfPrimaries, DoNotWaitForNodesThatHaveFailedOrHang) {
  answers(1, 100ms);
  reports.note_failure(node(2));
  reports.note_asked(node(3), at(100ms) - NodeReports::max_wait + 1ms);
  EXPECT_EQ(verdict(), Verdict::well);
  reports.note_asked(node(3), at(100ms) - NodeReports::max_wait);
  EXPECT_EQ(verdict(), Verdict::settled);
}

/// It may be this process that was stopped in between.
TEST_F(NodeReportsOfPrimaries, WaitForANodeThatCouldNotBeHeard) {
  answers(1, 100ms);
  reports.note_failure(node(2));
  reports.note_asked(node(3), at(100ms) - NodeReports::max_wait);
  reports.forget_question(node(3));
  EXPECT_EQ(verdict(), Verdict::well);
}

TEST_F(NodeReportsOfPrimaries, DoNotSettleANodeByFailuresAlone) {
  for (std::size_t i = 1; i < count; ++i) reports.note_failure(node(i));
  EXPECT_EQ(verdict(), Verdict::unknown);
  answers(0, 100ms + NodeReports::max_ignorance);
  EXPECT_EQ(verdict(), Verdict::settled) << "its own word is all that there will be";
}

TEST_F(NodeReportsOfPrimaries, SettleASeatWithoutSlots) {
  const std::size_t seat_of_0 = seat(0);
  view.take({.epoch = 2, .ranges = {{0, last, node(1), "1"}}, .nodes = {node(0), node(1)}},
            at(100ms), at(100ms));
  EXPECT_EQ(reports.verdict(seat_of_0, at(100ms)), Verdict::settled);
}

class NodeReportsOfOnePrimary : public NodeReportsOfPrimaries {
 protected:
  NodeReportsOfOnePrimary() : NodeReportsOfPrimaries(1) {}
  void tells_of_replicas(bool it_has_some, std::chrono::milliseconds asked) {
    ClusterAnswer answer = map();
    answer.ranges.front().may_be_replaced = it_has_some;
    reports.note_answer(node(0), answer, at(asked), at(asked));
  }
};

/// It may have got a replica since the last map.
TEST_F(NodeReportsOfOnePrimary, DoNotSettleItByAnOlderMap) {
  EXPECT_EQ(verdict(), Verdict::unknown);
  tells_of_replicas(false, 99ms);
  EXPECT_EQ(verdict(), Verdict::unknown);
}

TEST_F(NodeReportsOfOnePrimary, SettleItAsItHasNoReplica) {
  tells_of_replicas(false, 100ms);
  EXPECT_EQ(verdict(), Verdict::settled);
}

/// Its replica has failed, by its own word, and is in no map: it may be wrong about that.
TEST_F(NodeReportsOfOnePrimary, DoNotSettleItBeforeItCanKnowAsItHasAReplica) {
  tells_of_replicas(true, 100ms);
  EXPECT_EQ(verdict(), Verdict::unknown);
  tells_of_replicas(true, 100ms + NodeReports::max_ignorance);
  EXPECT_EQ(verdict(), Verdict::settled);
}

TEST_F(NodeReportsOfPrimaries, AskNodesThatHaveFailedBehindTheOthers) {
  reports.note_failure(node(2));
  reports.note_failure(node(1));
  reports.note_asked(node(3), at(0ms));
  EXPECT_EQ(reports.in_order(random), (std::vector<Address>{node(0), node(2), node(1), node(3)}));
  answers(2, 0ms);
  answers(3, 0ms);
  const auto order = reports.in_order(random);
  EXPECT_EQ(order.back(), node(1));
}

TEST_F(NodeReportsOfPrimaries, AskEachNodeFirstSometimes) {
  std::vector<Address> first;
  for (int i = 0; i < 100; ++i) first.push_back(reports.in_order(random).front());
  for (std::size_t i = 0; i < count; ++i) EXPECT_GT(std::ranges::count(first, node(i)), 0);
}

TEST_F(NodeReportsOfPrimaries, AwaitNothingInAForkedChild) {
  reports.note_asked(node(0), at(0ms));
  reports.note_failure(node(1));
  reports.note_failure(node(2));
  reports.note_failure(node(3));
  EXPECT_EQ(reports.in_order(random).back(), node(0));
  reports.forget_questions();
  EXPECT_EQ(reports.in_order(random).front(), node(0));
}

/// A node timeout is told by each node with its own answer.
class NodeReportsOfTimeouts : public NodeReportsOfPrimaries {
 protected:
  void tells(std::size_t number, std::optional<std::chrono::milliseconds> node_timeout,
             std::chrono::milliseconds now = 0ms) {
    ClusterAnswer answer = map();
    answer.node_timeout = node_timeout;
    reports.note_answer(node(number), answer, at(now), at(now));
  }
};

TEST_F(NodeReportsOfTimeouts, HaveTheShortestOfThem) {
  EXPECT_EQ(reports.node_timeout(), std::nullopt);
  tells(0, 3s);
  tells(1, 2s);
  EXPECT_EQ(reports.node_timeout(), 2s);
  tells(1, 5s);
  EXPECT_EQ(reports.node_timeout(), 3s) << "it is another one now";
}

TEST_F(NodeReportsOfTimeouts, KeepWhatANodeHasTold) {
  tells(0, 3s);
  tells(0, std::nullopt);
  reports.note_failure(node(0));
  EXPECT_EQ(reports.node_timeout(), 3s);
}

TEST_F(NodeReportsOfTimeouts, ForgetWhatANodeHasToldThatIsGone) {
  tells(0, 3s);
  tells(1, 5s);
  view.take({.epoch = 2, .ranges = {{0, last, node(1), "1"}}, .nodes = {node(1)}}, at(1ms),
            at(1ms));
  reports.follow_view();
  EXPECT_EQ(reports.node_timeout(), 5s);
}

TEST_F(NodeReportsOfTimeouts, AreAskedForAgainAfterASecond) {
  EXPECT_TRUE(reports.wants_node_timeout(node(0), at(0ms)));
  tells(0, 3s);
  EXPECT_FALSE(reports.wants_node_timeout(node(0), at(999ms)));
  EXPECT_TRUE(reports.wants_node_timeout(node(0), at(1s)));
}

/// Each refusal is an entry in the log of ACLs.
TEST_F(NodeReportsOfTimeouts, AreNotAskedForAgainWhereThatIsRefused) {
  ClusterAnswer answer = map();
  answer.refuses_node_timeout = true;
  reports.note_answer(node(0), answer, at(0ms), at(0ms));
  EXPECT_FALSE(reports.wants_node_timeout(node(0), at(24h)));
  EXPECT_TRUE(reports.wants_node_timeout(node(1), at(0ms)));
}

}  // namespace
}  // namespace redlatch::test::node_reports_test
