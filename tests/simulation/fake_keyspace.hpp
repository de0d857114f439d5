#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace redlatch::test {

/// Members by score, and by their bytes where scores are equal. Lists of a lock's holders are
/// short, so that everything is a linear search.
class SortedSet {
 public:
  using Scored = std::pair<double, std::string>;

  /// Adds a member or changes its score.
  enum class Change { added, moved, none };
  Change put(std::string_view member, double score);
  bool remove(std::string_view member);
  /// Removes the members for which `is_out` is true, and returns how many these were.
  std::size_t remove_if(const std::function<bool(const Scored&)>& is_out);
  std::optional<double> score(std::string_view member) const;

  std::size_t size() const noexcept { return members_.size(); }
  bool empty() const noexcept { return members_.empty(); }
  const Scored& operator[](std::size_t rank) const { return members_[rank]; }

 private:
  std::vector<Scored> members_{};
};

/// The databases of a fake server. Keys expire when they are looked for, at a time that is set from
/// outside. Not for several threads.
class FakeKeyspace {
 public:
  using List = std::deque<std::string>;
  using Value = std::variant<std::string, List, SortedSet>;
  struct Entry {
    Value value;
    std::optional<std::int64_t> expiry{};  // milliseconds, by the clock of `set_now`
  };
  using Database = std::map<std::string, Entry, std::less<>>;
  /// What has become of a key.
  struct Change {
    int database;
    std::string key;
    std::optional<Entry> entry{};  // nothing: it is absent
  };
  /// Called after each change of a key, its expiry included.
  using OnChange = std::function<void(int database, std::string_view key)>;

  explicit FakeKeyspace(OnChange on_change) : on_change_(std::move(on_change)) {}

  std::int64_t now() const noexcept { return now_; }
  void set_now(std::int64_t milliseconds) noexcept { now_ = milliseconds; }
  /// A replica does not remove expired keys: its primary does. They are absent all the same.
  void keep_expired(bool keeps) noexcept { keeps_expired_ = keeps; }

  /// Null: there is no such key, or it is removed now, as it has expired.
  Entry* find(int database, std::string_view key);
  /// The same without removing anything.
  const Entry* peek(int database, std::string_view key) const;
  /// What the key is, expired or not.
  Change state(int database, std::string_view key) const;
  /// Whether the key is there although it has expired.
  bool is_expired(int database, std::string_view key) const;
  /// Whether the key is there, expired or not.
  bool is_stored(int database, std::string_view key) const;

  /// The entry of a key that is absent. The caller has to call `changed`.
  Entry& add(int database, std::string_view key, Value value);
  /// As another server has it. The caller has to call `changed`.
  void set(const Change& change);
  /// False: there was no such key.
  bool erase(int database, std::string_view key);
  void changed(int database, std::string_view key) { on_change_(database, key); }
  /// Removes all expired keys.
  void remove_expired();
  /// The earliest expiry of all keys. A key is absent from the next millisecond on.
  std::optional<std::int64_t> next_expiry() const;

  void clear(int database) { databases_.erase(database); }
  void clear() { databases_.clear(); }
  const std::map<int, Database>& databases() const noexcept { return databases_; }
  void set_databases(const std::map<int, Database>& databases) { databases_ = databases; }

 private:
  // Redis: an expired key is one whose time is over, not one whose time is now.
  bool is_over(const Entry& entry) const noexcept { return entry.expiry && now_ > *entry.expiry; }

  OnChange on_change_;
  std::int64_t now_ = 0;
  bool keeps_expired_ = false;
  std::map<int, Database> databases_{};
};

}  // namespace redlatch::test
