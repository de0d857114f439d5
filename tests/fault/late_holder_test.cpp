// A holder whose lease is over writes after the next holder has read, and before that one writes.
// Both have read the same number. A resource to which a token is shown only by writes lets the late
// holder through; one to which it is shown by reads refuses it, as that of docs/recipes.md does.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include <redlatch/redlatch.hpp>

#include "../../examples/invoices.hpp"
#include "database.hpp"
#include "eventually.hpp"
#include "redis_server.hpp"

namespace redlatch::test {
namespace late_holder_test {

using namespace std::chrono_literals;

/// As `Invoices`, but for the reads, which show no token.
class Blind {
 public:
  Blind() {
    database_.run("CREATE TABLE invoices (next INTEGER, fence INTEGER)");
    database_.run("INSERT INTO invoices VALUES (1, 0)");
  }

  std::optional<std::int64_t> read(std::uint64_t /*token*/) {
    return database_.run("SELECT next FROM invoices");
  }
  bool issue(std::int64_t number, std::uint64_t token) {
    const char* sql =
        "UPDATE invoices SET next = ?1 + 1, fence = ?2 WHERE fence <= ?2 RETURNING next";
    return database_.run(sql, {number, static_cast<std::int64_t>(token)}).has_value();
  }

 private:
  Database database_{":memory:"};
};

/// What the two holders have read, and whether the resource let them write.
struct Outcome {
  std::optional<std::int64_t> late_number{};
  std::optional<std::int64_t> number{};
  bool issued_late = false;
  bool issued = false;
};

class LateHolder : public testing::Test {
 protected:
  template <class Resource>
  Outcome issue_late(Resource invoices) {
    Outcome outcome;
    const Lock late(client, "invoices", {.ttl = 1s, .auto_renew = false, .fencing = true});
    const std::uint64_t late_token = late.fencing_token();
    outcome.late_number = invoices.read(late_token);
    EXPECT_TRUE(eventually([&] { return !late.owns_lock(); }));
    const Lock next(client, "invoices", {.fencing = true});
    outcome.number = invoices.read(next.fencing_token());
    outcome.issued_late = invoices.issue(outcome.late_number.value(), late_token);
    outcome.issued = invoices.issue(outcome.number.value(), next.fencing_token());
    return outcome;
  }

  RedisServer server{};
  Client client{server.url(), {.connect_timeout = 20s, .command_timeout = 20s}};
};

TEST_F(LateHolder, IsLetThroughWhereOnlyWritesShowTheToken) {
  const Outcome outcome = issue_late(Blind());
  EXPECT_EQ(outcome.late_number, outcome.number);
  EXPECT_TRUE(outcome.issued_late && outcome.issued) << "one number was not issued twice";
}

TEST_F(LateHolder, IsRefusedWhereReadsShowTheToken) {
  const Outcome outcome = issue_late(Invoices(":memory:"));
  EXPECT_EQ(outcome.late_number, outcome.number);
  EXPECT_FALSE(outcome.issued_late);
  EXPECT_TRUE(outcome.issued);
}

}  // namespace late_holder_test
}  // namespace redlatch::test
