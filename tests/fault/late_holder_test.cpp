// A holder whose lease is over writes after the next holder has read, and before that one writes.
// Both have read the same number. A resource to which a token is shown only by writes lets the late
// holder through; one to which it is shown by reads refuses it. docs/recipes.md has the second.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <redlatch/redlatch.hpp>

#include "database.hpp"
#include "eventually.hpp"
#include "redis_server.hpp"

namespace redlatch::test {
namespace late_holder_test {

using namespace std::chrono_literals;

/// Numbers of invoices. Every statement has the token of a holder as ?1.
class Invoices {
 public:
  Invoices(std::string read, std::string write) : read_(std::move(read)), write_(std::move(write)) {
    database_.run("CREATE TABLE invoices (next INTEGER, fence INTEGER)");
    database_.run("INSERT INTO invoices VALUES (7, 0)");
  }

  std::optional<std::int64_t> read(const Lock& holder) {
    return database_.run(read_, {of(holder)});
  }
  bool write(std::int64_t next, std::int64_t token) {
    return database_.run(write_ + " RETURNING next", {token, next}).has_value();
  }
  static std::int64_t of(const Lock& holder) {
    return static_cast<std::int64_t>(holder.fencing_token());
  }

 private:
  Database database_{":memory:"};
  std::string read_;
  std::string write_;
};

/// What the two holders have read, and whether the resource let them write.
struct Outcome {
  std::optional<std::int64_t> late_number{};
  std::optional<std::int64_t> number{};
  bool late_wrote = false;
  bool wrote = false;
};

class LateHolder : public testing::Test {
 protected:
  Outcome write_late(Invoices invoices) {
    Outcome outcome;
    const Lock late(client, "invoices", {.ttl = 20ms, .auto_renew = false, .fencing = true});
    const std::int64_t late_token = Invoices::of(late);
    outcome.late_number = invoices.read(late);
    EXPECT_TRUE(eventually([&] { return !late.owns_lock(); }));
    const Lock next(client, "invoices", {.fencing = true});
    outcome.number = invoices.read(next);
    outcome.late_wrote = invoices.write(*outcome.late_number + 1, late_token);
    outcome.wrote = invoices.write(*outcome.number + 1, Invoices::of(next));
    return outcome;
  }

  RedisServer server{};
  Client client{server.url(), {.connect_timeout = 20s, .command_timeout = 20s}};
};

TEST_F(LateHolder, IsLetThroughWhereOnlyWritesShowTheToken) {
  const Outcome outcome =
      write_late({"SELECT next FROM invoices WHERE ?1 = ?1",
                  "UPDATE invoices SET next = ?2, fence = ?1 WHERE fence <= ?1"});
  EXPECT_EQ(outcome.late_number, 7);
  EXPECT_EQ(outcome.number, 7);
  EXPECT_TRUE(outcome.late_wrote && outcome.wrote) << "the number 7 was not issued twice";
}

TEST_F(LateHolder, IsRefusedWhereReadsShowTheToken) {
  const Outcome outcome =
      write_late({"UPDATE invoices SET fence = ?1 WHERE fence <= ?1 RETURNING next",
                  "UPDATE invoices SET next = ?2 WHERE fence = ?1"});
  EXPECT_EQ(outcome.late_number, 7);
  EXPECT_EQ(outcome.number, 7);
  EXPECT_FALSE(outcome.late_wrote);
  EXPECT_TRUE(outcome.wrote);
}

}  // namespace late_holder_test
}  // namespace redlatch::test
