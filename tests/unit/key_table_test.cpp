#include "base/key_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

namespace redlatch::detail {
namespace key_table_test {

struct Item {
  std::string key{};
  KeyLink<Item> link{};
};
using Table = KeyTable<Item, &Item::link>;

/// All in one chain, where each finds its own.
class KeyTableOfThree : public testing::Test {
 protected:
  KeyTableOfThree() {
    for (Item& item : items) table.put(item, 5);
  }
  const Item* find(const std::string& key) const {
    return table.find(5, [&](const Item& item) { return item.key == key; });
  }

  std::array<Item, 3> items{{{.key = "a"}, {.key = "b"}, {.key = "c"}}};
  Table table{};
};

TEST_F(KeyTableOfThree, FindsEach) {
  for (const Item& item : items) EXPECT_EQ(find(item.key), &item);
  EXPECT_EQ(find("d"), nullptr);
  EXPECT_EQ(table.find(6, [](const Item&) { return true; }), nullptr);
}

TEST_F(KeyTableOfThree, LosesEachAtItsPlace) {
  for (std::size_t gone = 0; gone < items.size(); ++gone) {
    table.remove(items[gone]);
    for (std::size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(find(items[i].key), i == gone ? nullptr : &items[i]);
    }
    table.put(items[gone], 5);
  }
}

TEST_F(KeyTableOfThree, LosesThemInAnyOrder) {
  for (std::array<std::size_t, 3> order{0, 1, 2};;) {
    for (const std::size_t i : order) table.remove(items[i]);
    for (const Item& item : items) EXPECT_EQ(find(item.key), nullptr);
    for (Item& item : items) table.put(item, 5);
    if (!std::ranges::next_permutation(order).found) break;
  }
}

TEST_F(KeyTableOfThree, TakesAndLosesAnItemOnce) {
  table.put(items[1], 5);
  table.put(items[1], 6);
  table.remove(items[1]);
  table.remove(items[1]);
  EXPECT_EQ(find("b"), nullptr);
  EXPECT_EQ(find("a"), &items[0]);
  EXPECT_EQ(find("c"), &items[2]);
}

}  // namespace key_table_test
}  // namespace redlatch::detail
