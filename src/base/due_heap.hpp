#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Where an item is in a heap. A member of the item; an item may be in several heaps.
class DueIndex {
 public:
  bool exists() const noexcept { return value_ != nowhere; }

 private:
  template <class Item, DueIndex Item::*>
  friend class DueHeap;

  static constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();
  std::size_t value_ = nowhere;
};

/// Items by the time when they are due, the earliest first: a binary heap in which each item knows
/// its index, so that it can be moved and removed. Takes memory in `reserve` alone, which the first
/// use of a lease calls: no lease that is held ever fails to be renewed, or its loss to be
/// notified, for want of memory.
template <class Item, DueIndex Item::*index>
class DueHeap {
 public:
  /// Makes room for `items`; throws `std::bad_alloc`.
  void reserve(std::size_t items) {
    if (items > nodes_.capacity()) nodes_.reserve(std::max(items, 2 * nodes_.capacity()));
  }
  bool empty() const noexcept { return nodes_.empty(); }
  std::size_t size() const noexcept { return nodes_.size(); }
  /// `TimePoint::max()` when it is empty.
  TimePoint first_due() const noexcept {
    return nodes_.empty() ? TimePoint::max() : nodes_.front().due;
  }
  /// Of a heap that is not empty.
  Item& first() const noexcept {
    assert(!nodes_.empty());
    return *nodes_.front().item;
  }

  /// Adds the item, or moves it when it is there already.
  void put(Item& item, TimePoint due) noexcept {
    std::size_t& at = (item.*index).value_;
    if (at == DueIndex::nowhere) {
      assert(nodes_.size() < nodes_.capacity());
      at = nodes_.size();
      nodes_.push_back({due, &item});
    }
    assert(at < nodes_.size() && nodes_[at].item == &item);
    nodes_[at].due = due;
    settle(at);
  }
  /// Does nothing when the item is not there.
  void remove(Item& item) noexcept {
    const std::size_t at = std::exchange((item.*index).value_, DueIndex::nowhere);
    if (at == DueIndex::nowhere) return;
    assert(at < nodes_.size() && nodes_[at].item == &item);
    const Node last = nodes_.back();
    nodes_.pop_back();
    if (at == nodes_.size()) return;
    set(at, last);
    settle(at);
  }
  void clear() noexcept {
    for (const Node& node : nodes_) (node.item->*index).value_ = DueIndex::nowhere;
    nodes_.clear();
  }

 private:
  struct Node {
    TimePoint due;
    Item* item;
  };

  void set(std::size_t at, const Node& node) noexcept {
    nodes_[at] = node;
    (node.item->*index).value_ = at;
  }
  /// Moves the node up or down to where it belongs.
  void settle(std::size_t at) noexcept {
    const Node node = nodes_[at];
    for (std::size_t parent = (at - 1) / 2; at > 0 && node.due < nodes_[parent].due;
         parent = (at - 1) / 2) {
      set(at, nodes_[parent]);
      at = parent;
    }
    for (std::size_t child = first_child(at); child < nodes_.size(); child = first_child(at)) {
      if (nodes_[child].due >= node.due) break;
      set(at, nodes_[child]);
      at = child;
    }
    set(at, node);
  }
  /// The child that is due first; beyond the end when there is none.
  std::size_t first_child(std::size_t at) const noexcept {
    const std::size_t left = 2 * at + 1;
    const std::size_t right = left + 1;
    return right < nodes_.size() && nodes_[right].due < nodes_[left].due ? right : left;
  }

  std::vector<Node> nodes_{};
};

}  // namespace redlatch::detail
