#include "failovers.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "redis_server.hpp"

namespace redlatch::test {
namespace failovers_test {

/// One server, which plays each primary. What happens to it is said by the test.
class PlayedStage : public Stage {
 public:
  std::string url() const override { return {}; }
  std::vector<Server> servers() override { return {{0, server_.socket()}, {0, server_.socket()}}; }
  std::size_t primary() override {
    if (!primary_) throw std::runtime_error("there is no primary");
    return *primary_;
  }
  std::span<const Fault> faults() const override { return {}; }
  std::optional<Incident> fail_over(Fault fault, std::mt19937&) override {
    primary_ = 1;
    if (!is_seen_) return std::nullopt;
    return Incident{.fault = fault, .lossy_until = HistoryClock::now()};
  }

  std::optional<std::size_t> primary_ = 0;
  bool is_seen_ = true;

 private:
  RedisServer server_{};
};

class FailoversOfAStage : public testing::Test {
 protected:
  PlayedStage stage_{};
  Failovers failovers_{stage_};
  std::mt19937 random_{};
};

TEST_F(FailoversOfAStage, AreNotedWithoutAnOrder) {
  const Moment before = HistoryClock::now();
  stage_.primary_.reset();
  failovers_.look();
  EXPECT_TRUE(failovers_.unordered().empty());
  stage_.primary_ = 1;
  failovers_.look();
  failovers_.look();
  ASSERT_EQ(failovers_.unordered().size(), 1U);
  EXPECT_LE(failovers_.unordered()[0].began, before);
  EXPECT_GE(failovers_.unordered()[0].lossy_until, before);
}

TEST_F(FailoversOfAStage, AreNotUnorderedWhereTheyWereOrdered) {
  const auto [incident, landed] = failovers_.order(Fault::failover, random_);
  failovers_.look();
  EXPECT_TRUE(landed);
  EXPECT_EQ(incident.fault, Fault::failover);
  EXPECT_TRUE(failovers_.unordered().empty());
}

TEST_F(FailoversOfAStage, MayHaveHappenedThoughTheyWereNotSeenToLand) {
  const Moment before = HistoryClock::now();
  stage_.is_seen_ = false;
  const auto [incident, landed] = failovers_.order(Fault::failover, random_);
  EXPECT_FALSE(landed);
  EXPECT_EQ(incident.fault, Fault::failover);
  EXPECT_LE(incident.began, before);
  EXPECT_GE(incident.lossy_until, before);
  EXPECT_TRUE(failovers_.unordered().empty());
}

}  // namespace failovers_test
}  // namespace redlatch::test
