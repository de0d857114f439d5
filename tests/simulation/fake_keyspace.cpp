#include "fake_keyspace.hpp"

#include <algorithm>

namespace redlatch::test {

SortedSet::Change SortedSet::put(std::string_view member, double score) {
  const std::optional<double> before = this->score(member);
  if (before == score) return Change::none;
  if (before) remove(member);
  Scored scored{score, member};
  members_.insert(std::ranges::upper_bound(members_, scored), std::move(scored));
  return before ? Change::moved : Change::added;
}

bool SortedSet::remove(std::string_view member) {
  return remove_if([&](const Scored& one) { return one.second == member; }) > 0;
}

std::size_t SortedSet::remove_if(const std::function<bool(const Scored&)>& is_out) {
  return std::erase_if(members_, is_out);
}

std::optional<double> SortedSet::score(std::string_view member) const {
  const auto found = std::ranges::find(members_, member, &Scored::second);
  if (found == members_.end()) return std::nullopt;
  return found->first;
}

const FakeKeyspace::Entry* FakeKeyspace::peek(int database, std::string_view key) const {
  const auto keys = databases_.find(database);
  if (keys == databases_.end()) return nullptr;
  const auto found = keys->second.find(key);
  return found == keys->second.end() || is_over(found->second) ? nullptr : &found->second;
}

FakeKeyspace::Entry* FakeKeyspace::find(int database, std::string_view key) {
  const auto keys = databases_.find(database);
  if (keys == databases_.end()) return nullptr;
  const auto found = keys->second.find(key);
  if (found == keys->second.end()) return nullptr;
  if (!is_over(found->second)) return &found->second;
  if (!keeps_expired_) {
    keys->second.erase(found);
    changed(database, key);
  }
  return nullptr;
}

bool FakeKeyspace::is_stored(int database, std::string_view key) const {
  const auto keys = databases_.find(database);
  return keys != databases_.end() && keys->second.contains(key);
}

bool FakeKeyspace::is_expired(int database, std::string_view key) const {
  return is_stored(database, key) && peek(database, key) == nullptr;
}

FakeKeyspace::Entry& FakeKeyspace::add(int database, std::string_view key, Value value) {
  return databases_[database].emplace(key, Entry{.value = std::move(value)}).first->second;
}

void FakeKeyspace::set(const Change& change) {
  if (change.entry) {
    databases_[change.database].insert_or_assign(change.key, *change.entry);
  } else {
    erase(change.database, change.key);
  }
}

FakeKeyspace::Change FakeKeyspace::state(int database, std::string_view key) const {
  Change change{.database = database, .key = std::string(key)};
  const auto keys = databases_.find(database);
  if (keys == databases_.end()) return change;
  const auto found = keys->second.find(key);
  if (found != keys->second.end()) change.entry = found->second;
  return change;
}

bool FakeKeyspace::erase(int database, std::string_view key) {
  const auto keys = databases_.find(database);
  if (keys == databases_.end()) return false;
  const auto found = keys->second.find(key);
  if (found == keys->second.end()) return false;
  keys->second.erase(found);
  return true;
}

void FakeKeyspace::remove_expired() {
  if (keeps_expired_) return;
  std::vector<std::pair<int, std::string>> expired;
  for (const auto& [database, keys] : databases_) {
    for (const auto& [key, entry] : keys) {
      if (is_over(entry)) expired.emplace_back(database, key);
    }
  }
  for (const auto& [database, key] : expired) {
    if (erase(database, key)) changed(database, key);
  }
}

std::optional<std::int64_t> FakeKeyspace::next_expiry() const {
  std::optional<std::int64_t> next;
  for (const auto& [database, keys] : databases_) {
    for (const auto& [key, entry] : keys) {
      if (entry.expiry) next = std::min(next.value_or(*entry.expiry), *entry.expiry);
    }
  }
  return next;
}

}  // namespace redlatch::test
