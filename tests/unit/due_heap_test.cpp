#include "base/due_heap.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <random>
#include <vector>

namespace redlatch::detail {
namespace due_heap_test {

using namespace std::chrono_literals;

struct Item {
  DueIndex index{};
  std::optional<TimePoint> due{};  // while it is in the heap
};
using Heap = DueHeap<Item, &Item::index>;

TEST(DueHeap, IsNeverDueWhenItIsEmpty) {
  const Heap heap;
  EXPECT_TRUE(heap.empty());
  EXPECT_EQ(heap.first_due(), TimePoint::max());
}

TEST(DueHeap, GivesTheEarliestFirst) {
  std::vector<Item> items(5);
  Heap heap;
  heap.reserve(items.size());
  const std::vector<std::chrono::seconds> times{3s, 1s, 5s, 2s, 4s};
  for (std::size_t i = 0; i < items.size(); ++i) heap.put(items[i], TimePoint(times[i]));
  for (const auto time : {1s, 2s, 3s, 4s, 5s}) {
    EXPECT_EQ(heap.first_due(), TimePoint(time));
    heap.remove(heap.first());
  }
  EXPECT_TRUE(heap.empty());
}

TEST(DueHeap, ForgetsAllAtOnce) {
  Item item;
  Heap heap;
  heap.reserve(1);
  heap.put(item, TimePoint(1s));
  heap.clear();
  EXPECT_TRUE(heap.empty());
  EXPECT_FALSE(item.index.exists());
  heap.remove(item);  // is not there any more
  heap.put(item, TimePoint(2s));
  EXPECT_EQ(heap.first_due(), TimePoint(2s));
}

/// Against the minimum of all, whatever is added, moved and removed.
TEST(DueHeap, StaysInOrder) {
  std::mt19937 random(7);
  std::vector<Item> items(100);
  Heap heap;
  heap.reserve(items.size());
  for (int step = 0; step < 20'000; ++step) {
    Item& item = items[random() % items.size()];
    if (random() % 3 == 0) {
      heap.remove(item);
      item.due.reset();
    } else {
      item.due = TimePoint(std::chrono::nanoseconds(random() % 50));
      heap.put(item, *item.due);
    }
    TimePoint first = TimePoint::max();
    for (const Item& one : items) first = std::min(first, one.due.value_or(first));
    ASSERT_EQ(heap.first_due(), first) << step;
    ASSERT_EQ(item.index.exists(), item.due.has_value());
    ASSERT_TRUE(heap.empty() || heap.first().due == first);
  }
}

}  // namespace due_heap_test
}  // namespace redlatch::detail
