#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <functional>
#include <string_view>

namespace redlatch::detail {

/// The place of an item in a `KeyTable`. A member of the item.
template <class Item>
struct KeyLink {
  Item* next = nullptr;
  Item** self = nullptr;  // the pointer that leads to the item; null: it is in no table
};

/// Items by their keys, to find those with a key without looking at all of them: a hash table with
/// chains through the items, so that it takes no memory when a lease begins. Items with several
/// keys have a chain of their own, which each look-up visits.
template <class Item, KeyLink<Item> Item::*link>
class KeyTable {
 public:
  // The chain of items with several keys, behind the others. 256 chains take 2 KB for each client,
  // and with 10,000 leases a look-up visits 40 of them.
  static constexpr std::size_t several = 256;
  static std::size_t chain_of(std::string_view key) noexcept {
    return std::hash<std::string_view>{}(key) % several;
  }

  /// Does nothing when the item is there already.
  void put(Item& item, std::size_t chain) noexcept {
    KeyLink<Item>& its = item.*link;
    if (its.self != nullptr) return;
    Item*& head = heads_[chain];
    its = {head, &head};
    if (head != nullptr) (head->*link).self = &its.next;
    head = &item;
  }
  /// Does nothing when the item is not there.
  void remove(Item& item) noexcept {
    KeyLink<Item>& its = item.*link;
    if (its.self == nullptr) return;
    assert(*its.self == &item);
    *its.self = its.next;
    if (its.next != nullptr) (its.next->*link).self = its.self;
    its = {};
  }
  /// The first item of the chain for which `is_wanted`; null: none.
  template <class IsWanted>
  const Item* find(std::size_t chain, const IsWanted& is_wanted) const noexcept {
    const Item* item = heads_[chain];
    while (item != nullptr && !is_wanted(*item)) item = (item->*link).next;
    return item;
  }

 private:
  std::array<Item*, several + 1> heads_{};
};

}  // namespace redlatch::detail
