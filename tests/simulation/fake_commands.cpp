#include "fake_commands.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using namespace resp;
using List = FakeKeyspace::List;
using Entry = FakeKeyspace::Entry;

constexpr std::int64_t max_number = std::numeric_limits<std::int64_t>::max();

std::string_view key_of(const DataCall& call) { return call.words[1]; }
Entry* find(DataCall& call) { return call.keys.find(call.database, key_of(call)); }
void changed(DataCall& call) { call.keys.changed(call.database, key_of(call)); }

/// Null, after an error, if the value is of another type.
template <class T>
T* as(DataCall& call, Entry& entry) {
  T* const value = std::get_if<T>(&entry.value);
  if (value == nullptr) append_error(call.out, resp::wrong_type);
  return value;
}

/// The value of the key; null after an error, or after `absent` has written the reply.
template <class T, class Absent>
T* existing(DataCall& call, Absent absent) {
  Entry* const entry = find(call);
  if (entry == nullptr) {
    absent(call.out);
    return nullptr;
  }
  return as<T>(call, *entry);
}
/// The value of the key, which is created if need be; null after an error.
template <class T>
T* made(DataCall& call) {
  Entry* const entry = find(call);
  if (entry != nullptr) return as<T>(call, *entry);
  return &std::get<T>(call.keys.add(call.database, key_of(call), T{}).value);
}

/// An argument as a number; nothing, after an error.
std::optional<std::int64_t> number(DataCall& call, std::size_t i) {
  const auto value = integer_in(call.words[i]);
  if (!value) append_error(call.out, resp::no_integer);
  return value;
}
/// A number of elements, or the maximum to look at.
std::optional<std::int64_t> count(DataCall& call, std::size_t i, std::string_view negative) {
  const auto value = integer_in(call.words[i]);
  if (value && *value >= 0) return value;
  append_error(call.out, value || negative.find("must be") != std::string_view::npos
                             ? negative
                             : resp::no_integer);
  return std::nullopt;
}

/// The part of a range with negative numbers from the end, as [first, second).
std::pair<std::size_t, std::size_t> range(std::int64_t first, std::int64_t last, std::size_t size) {
  const auto end = static_cast<std::int64_t>(size);
  if (first < 0) first = std::max<std::int64_t>(first + end, 0);
  if (last < 0) last += end;
  last = std::min(last, end - 1);
  if (first > last || first >= end) return {0, 0};
  return {static_cast<std::size_t>(first), static_cast<std::size_t>(last + 1)};
}

/// The element at an index, which may count from the end; null: there is none.
std::string* element(List& list, std::int64_t index) {
  if (index < 0) index += static_cast<std::int64_t>(list.size());
  if (index < 0 || index >= static_cast<std::int64_t>(list.size())) return nullptr;
  return &list[static_cast<std::size_t>(index)];
}

std::string written(double score) {
  std::array<char, 40> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.17g", score);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::optional<double> score_in(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || std::isnan(value) || copy.front() == ' ') return std::nullopt;
  return value;
}

// Strings.

void get(DataCall& call) {
  if (const auto* text = existing<std::string>(call, append_nil)) append_bulk(call.out, *text);
}

void getrange(DataCall& call) {
  const auto first = number(call, 2);
  if (!first) return;
  const auto last = number(call, 3);
  if (!last) return;
  const auto* text = existing<std::string>(call, [](std::string& out) { append_bulk(out, ""); });
  if (text == nullptr) return;
  // Other than for lists, an end before the beginning of the text is its beginning.
  const auto size = static_cast<std::int64_t>(text->size());
  if (*first < 0 && *last < 0 && *first > *last) return append_bulk(call.out, "");
  const std::int64_t end = *last < 0 ? std::max<std::int64_t>(*last + size, 0) : *last;
  const auto [from, to] = range(*first, end, text->size());
  append_bulk(call.out, std::string_view(*text).substr(from, to - from));
}

void strlen(DataCall& call) {
  const auto absent = [](std::string& out) { append_integer(out, 0); };
  if (const auto* text = existing<std::string>(call, absent)) {
    append_integer(call.out, static_cast<std::int64_t>(text->size()));
  }
}

/// The options of SET.
struct SetOptions {
  bool if_absent = false;
  bool if_present = false;
  bool asks = false;
  bool keeps_expiry = false;
  bool is_relative = false;
  std::int64_t unit = 0;  // milliseconds; 0: no time was given
  std::string_view time{};

  /// False: a syntax error.
  bool take(std::string_view option, const std::string_view* next) {
    if (is_word(option, "nx") && !if_present) return if_absent = true;
    if (is_word(option, "xx") && !if_absent) return if_present = true;
    if (is_word(option, "get")) return asks = true;
    if (unit != 0 && unit != unit_of(option)) return false;
    if (is_word(option, "keepttl")) return keeps_expiry = true;
    if (unit_of(option) == 0 || keeps_expiry || next == nullptr) return false;
    if (unit != 0 && is_relative != is_relative_option(option)) return false;
    unit = unit_of(option);
    is_relative = is_relative_option(option);
    time = *next;
    return true;
  }
  static bool takes_time(std::string_view option) { return unit_of(option) != 0; }

 private:
  static std::int64_t unit_of(std::string_view option) {
    if (is_word(option, "px") || is_word(option, "pxat")) return 1;
    return is_word(option, "ex") || is_word(option, "exat") ? 1000 : 0;
  }
  static bool is_relative_option(std::string_view option) { return option.size() == 2; }
};

std::optional<SetOptions> set_options(DataCall& call) {
  SetOptions options;
  for (std::size_t i = 3; i < call.words.size(); ++i) {
    const auto* next = i + 1 < call.words.size() ? &call.words[i + 1] : nullptr;
    if (!options.take(call.words[i], next)) {
      append_error(call.out, resp::syntax_error);
      return std::nullopt;
    }
    if (SetOptions::takes_time(call.words[i])) ++i;
  }
  return options;
}

/// False after an error. Nothing in `expiry`: none was asked for.
bool read_expiry(DataCall& call, const SetOptions& options, std::optional<std::int64_t>& expiry) {
  if (options.unit == 0) return true;
  const auto time = integer_in(options.time);
  if (!time) {
    append_error(call.out, resp::no_integer);
    return false;
  }
  const std::int64_t base = options.is_relative ? call.keys.now() : 0;
  if (*time <= 0 || *time > (max_number - base) / options.unit) {
    append_error(call.out, "ERR invalid expire time in 'set' command");
    return false;
  }
  expiry = *time * options.unit + base;
  return true;
}

void set(DataCall& call) {
  const auto options = set_options(call);
  std::optional<std::int64_t> expiry;
  if (!options || !read_expiry(call, *options, expiry)) return;
  if (options->asks) {
    const std::size_t before = call.out.size();
    get(call);
    if (call.out[before] == '-') return;
  }
  Entry* entry = find(call);
  if ((options->if_absent && entry != nullptr) || (options->if_present && entry == nullptr)) {
    if (!options->asks) append_nil(call.out);
    return;
  }
  if (entry == nullptr) {
    entry = &call.keys.add(call.database, key_of(call), std::string(call.words[2]));
  } else {
    entry->value = std::string(call.words[2]);
  }
  if (!options->keeps_expiry) entry->expiry = expiry;
  changed(call);
  if (!options->asks) append_ok(call.out);
}

void incr(DataCall& call) {
  Entry* const entry = find(call);
  std::int64_t value = 0;
  if (entry != nullptr) {
    const auto* text = as<std::string>(call, *entry);
    if (text == nullptr) return;
    const auto before = integer_in(*text);
    if (!before) return append_error(call.out, resp::no_integer);
    if (*before == max_number) {
      return append_error(call.out, "ERR increment or decrement would overflow");
    }
    value = *before;
  }
  ++value;
  if (entry != nullptr) {
    entry->value = std::to_string(value);
  } else {
    call.keys.add(call.database, key_of(call), std::to_string(value));
  }
  changed(call);
  append_integer(call.out, value);
}

// Keys of any type.

void del(DataCall& call) {
  std::int64_t removed = 0;
  for (const std::string_view key : call.words.subspan(1)) {
    if (call.keys.find(call.database, key) == nullptr) continue;
    call.keys.erase(call.database, key);
    call.keys.changed(call.database, key);
    ++removed;
  }
  append_integer(call.out, removed);
}

void exists(DataCall& call) {
  append_integer(call.out, std::ranges::count_if(call.words.subspan(1), [&](std::string_view key) {
                   return call.keys.find(call.database, key) != nullptr;
                 }));
}

void type(DataCall& call) {
  constexpr std::array names{"string", "list", "zset"};
  const Entry* const entry = find(call);
  resp::append_status(call.out, entry == nullptr ? "none" : names.at(entry->value.index()));
}

void remaining(DataCall& call, std::int64_t unit) {
  const Entry* const entry = find(call);
  if (entry == nullptr) return append_integer(call.out, -2);
  if (!entry->expiry) return append_integer(call.out, -1);
  const std::int64_t rest = std::max<std::int64_t>(*entry->expiry - call.keys.now(), 0);
  append_integer(call.out, (rest + unit / 2) / unit);
}
void pttl(DataCall& call) { remaining(call, 1); }
void ttl(DataCall& call) { remaining(call, 1000); }

void persist(DataCall& call) {
  Entry* const entry = find(call);
  const bool did = entry != nullptr && std::exchange(entry->expiry, std::nullopt).has_value();
  if (did) changed(call);
  append_integer(call.out, did ? 1 : 0);
}

/// Which of NX, XX, GT and LT a command of the EXPIRE family has.
struct ExpireConditions {
  bool nx = false;
  bool xx = false;
  bool gt = false;
  bool lt = false;

  bool holds(std::optional<std::int64_t> now, std::int64_t then) const {
    if (nx && now) return false;
    if ((xx || gt) && !now) return false;
    if (gt && then <= *now) return false;
    return !(lt && now && then >= *now);
  }
};

std::optional<ExpireConditions> conditions(DataCall& call) {
  ExpireConditions read;
  for (const std::string_view word : call.words.subspan(3)) {
    bool* const option = is_word(word, "nx")   ? &read.nx
                         : is_word(word, "xx") ? &read.xx
                         : is_word(word, "gt") ? &read.gt
                         : is_word(word, "lt") ? &read.lt
                                               : nullptr;
    if (option == nullptr) {
      append_error(call.out, "ERR Unsupported option " + std::string(word));
      return std::nullopt;
    }
    *option = true;
  }
  if (read.nx && (read.xx || read.gt || read.lt)) {
    append_error(call.out, "ERR NX and XX, GT or LT options at the same time are not compatible");
    return std::nullopt;
  }
  if (read.gt && read.lt) {
    append_error(call.out, "ERR GT and LT options at the same time are not compatible");
    return std::nullopt;
  }
  return read;
}

void expire(DataCall& call, std::int64_t base, std::int64_t unit) {
  const auto only = conditions(call);
  if (!only) return;
  const auto time = number(call, 2);
  if (!time) return;
  if (*time > max_number / unit || *time < std::numeric_limits<std::int64_t>::min() / unit ||
      *time * unit > max_number - base) {
    return append_error(call.out,
                        "ERR invalid expire time in '" + lower(call.words[0]) + "' command");
  }
  const std::int64_t when = *time * unit + base;
  Entry* const entry = find(call);
  if (entry == nullptr || !only->holds(entry->expiry, when)) return append_integer(call.out, 0);
  if (when <= call.keys.now()) {
    call.keys.erase(call.database, key_of(call));
  } else {
    entry->expiry = when;
  }
  append_integer(call.out, 1);
  changed(call);
}
void pexpire(DataCall& call) { expire(call, call.keys.now(), 1); }
void expire_seconds(DataCall& call) { expire(call, call.keys.now(), 1000); }
void pexpireat(DataCall& call) { expire(call, 0, 1); }

void dbsize(DataCall& call) {
  const auto keys = call.keys.databases().find(call.database);
  append_integer(call.out, keys == call.keys.databases().end()
                               ? 0
                               : static_cast<std::int64_t>(keys->second.size()));
}

void time(DataCall& call) {
  const std::int64_t now = call.keys.now();
  append_array(call.out, 2);
  append_bulk(call.out, std::to_string(now / 1000));
  append_bulk(call.out, std::to_string(now % 1000 * 1000));
}

// Lists.

void push(DataCall& call, bool in_front) {
  List* const list = made<List>(call);
  if (list == nullptr) return;
  for (const std::string_view word : call.words.subspan(2)) {
    list->emplace(in_front ? list->begin() : list->end(), word);
  }
  append_integer(call.out, static_cast<std::int64_t>(list->size()));
  changed(call);
}
void rpush(DataCall& call) { push(call, false); }
void lpush(DataCall& call) { push(call, true); }

void llen(DataCall& call) {
  const auto absent = [](std::string& out) { append_integer(out, 0); };
  if (const auto* list = existing<List>(call, absent)) {
    append_integer(call.out, static_cast<std::int64_t>(list->size()));
  }
}

void lindex(DataCall& call) {
  List* const list = existing<List>(call, append_nil);
  if (list == nullptr) return;
  const auto index = number(call, 2);
  if (!index) return;
  const std::string* const found = element(*list, *index);
  if (found == nullptr) return append_nil(call.out);
  append_bulk(call.out, *found);
}

void lset(DataCall& call) {
  const auto absent = [](std::string& out) { append_error(out, "ERR no such key"); };
  List* const list = existing<List>(call, absent);
  if (list == nullptr) return;
  const auto index = number(call, 2);
  if (!index) return;
  std::string* const found = element(*list, *index);
  if (found == nullptr) return append_error(call.out, "ERR index out of range");
  *found = call.words[3];
  append_ok(call.out);
  changed(call);
}

void lrange(DataCall& call) {
  const auto first = number(call, 2);
  if (!first) return;
  const auto last = number(call, 3);
  if (!last) return;
  const auto* list = existing<List>(call, [](std::string& out) { append_array(out, 0); });
  if (list == nullptr) return;
  const auto [from, to] = range(*first, *last, list->size());
  append_array(call.out, to - from);
  for (std::size_t i = from; i < to; ++i) append_bulk(call.out, (*list)[i]);
}

void remove_if_empty(DataCall& call, const List& list) {
  if (list.empty()) call.keys.erase(call.database, key_of(call));
}

void lrem(DataCall& call) {
  const auto limit = number(call, 2);
  if (!limit) return;
  List* const list = existing<List>(call, [](std::string& out) { append_integer(out, 0); });
  if (list == nullptr) return;
  const bool from_end = *limit < 0;
  std::int64_t removed = 0;
  const auto is_out = [&](const std::string& one) {
    if (one != call.words[3] || (*limit != 0 && removed == std::abs(*limit))) return false;
    ++removed;
    return true;
  };
  if (from_end) std::reverse(list->begin(), list->end());
  list->erase(std::remove_if(list->begin(), list->end(), is_out), list->end());
  if (from_end) std::reverse(list->begin(), list->end());
  remove_if_empty(call, *list);
  if (removed > 0) changed(call);
  append_integer(call.out, removed);
}

void pop(DataCall& call, bool in_front) {
  const bool has_count = call.words.size() == 3;
  if (call.words.size() > 3) {
    return append_error(call.out,
                        "ERR wrong number of arguments for '" + lower(call.words[0]) + "' command");
  }
  std::optional<std::int64_t> limit = 1;
  if (has_count) limit = count(call, 2, "ERR value is out of range, must be positive");
  if (!limit) return;
  List* const list = existing<List>(call, [&](std::string& out) {
    if (has_count) return resp::append_nil_array(out);
    append_nil(out);
  });
  if (list == nullptr) return;
  auto rest = std::min(*limit, static_cast<std::int64_t>(list->size()));
  if (has_count) append_array(call.out, static_cast<std::size_t>(rest));
  if (rest == 0) return;
  for (; rest > 0; --rest) {
    append_bulk(call.out, in_front ? list->front() : list->back());
    if (in_front) {
      list->pop_front();
    } else {
      list->pop_back();
    }
  }
  remove_if_empty(call, *list);
  changed(call);
}
void lpop(DataCall& call) { pop(call, true); }
void rpop(DataCall& call) { pop(call, false); }

/// Without options, which no script of the library uses.
void lpos(DataCall& call) {
  if (call.words.size() > 3) return append_error(call.out, resp::syntax_error);
  const auto* list = existing<List>(call, append_nil);
  if (list == nullptr) return;
  const auto found = std::ranges::find(*list, call.words[2]);
  if (found == list->end()) return append_nil(call.out);
  append_integer(call.out, found - list->begin());
}

// Sorted sets.

void zadd(DataCall& call) {
  const Words pairs = call.words.subspan(2);
  if (pairs.size() % 2 != 0) return append_error(call.out, resp::syntax_error);
  std::vector<double> scores;
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const auto score = score_in(pairs[i]);
    if (!score) return append_error(call.out, "ERR value is not a valid float");
    scores.push_back(*score);
  }
  SortedSet* const set = made<SortedSet>(call);
  if (set == nullptr) return;
  std::int64_t added = 0;
  bool is_changed = false;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto change = set->put(pairs[2 * i + 1], scores[i]);
    added += change == SortedSet::Change::added ? 1 : 0;
    is_changed |= change != SortedSet::Change::none;
  }
  append_integer(call.out, added);
  if (is_changed) changed(call);
}

void remove_if_empty(DataCall& call, const SortedSet& set) {
  if (set.empty()) call.keys.erase(call.database, key_of(call));
}

void zrem(DataCall& call) {
  const auto absent = [](std::string& out) { append_integer(out, 0); };
  SortedSet* const set = existing<SortedSet>(call, absent);
  if (set == nullptr) return;
  const Words members = call.words.subspan(2);
  const auto removed =
      std::ranges::count_if(members, [&](std::string_view member) { return set->remove(member); });
  remove_if_empty(call, *set);
  if (removed > 0) changed(call);
  append_integer(call.out, removed);
}

/// One end of a range of scores; "(" in front excludes the score itself.
struct ScoreLimit {
  double score;
  bool is_excluded;
};
std::optional<ScoreLimit> limit_in(std::string_view text) {
  const bool is_excluded = text.starts_with('(');
  if (is_excluded) text.remove_prefix(1);
  const auto score = text.empty() ? 0.0 : score_in(text);
  if (!score) return std::nullopt;
  return ScoreLimit{*score, is_excluded};
}

void zremrangebyscore(DataCall& call) {
  const auto low = limit_in(call.words[2]);
  const auto high = limit_in(call.words[3]);
  if (!low || !high) return append_error(call.out, "ERR min or max is not a float");
  const auto absent = [](std::string& out) { append_integer(out, 0); };
  SortedSet* const set = existing<SortedSet>(call, absent);
  if (set == nullptr) return;
  const auto removed = set->remove_if([&](const SortedSet::Scored& one) {
    const bool is_high = low->is_excluded ? one.first > low->score : one.first >= low->score;
    return is_high && (high->is_excluded ? one.first < high->score : one.first <= high->score);
  });
  remove_if_empty(call, *set);
  if (removed > 0) changed(call);
  append_integer(call.out, static_cast<std::int64_t>(removed));
}

void zcard(DataCall& call) {
  const auto absent = [](std::string& out) { append_integer(out, 0); };
  if (const auto* set = existing<SortedSet>(call, absent)) {
    append_integer(call.out, static_cast<std::int64_t>(set->size()));
  }
}

void zscore(DataCall& call) {
  const auto* set = existing<SortedSet>(call, append_nil);
  if (set == nullptr) return;
  const auto score = set->score(call.words[2]);
  if (!score) return append_nil(call.out);
  append_bulk(call.out, written(*score));
}

/// By rank only.
void zrange(DataCall& call) {
  const bool with_scores = call.words.size() == 5 && is_word(call.words[4], "withscores");
  if (call.words.size() > 4 && !with_scores) return append_error(call.out, resp::syntax_error);
  const auto first = number(call, 2);
  if (!first) return;
  const auto last = number(call, 3);
  if (!last) return;
  const auto* set = existing<SortedSet>(call, [](std::string& out) { append_array(out, 0); });
  if (set == nullptr) return;
  const auto [from, to] = range(*first, *last, set->size());
  append_array(call.out, (to - from) * (with_scores ? 2 : 1));
  for (std::size_t i = from; i < to; ++i) {
    append_bulk(call.out, (*set)[i].second);
    if (with_scores) append_bulk(call.out, written((*set)[i].first));
  }
}

using Kind = CommandKind;
constexpr unsigned always = Kind::while_loading | Kind::while_stale;
constexpr unsigned refused_by_scripts = Kind::not_in_scripts | always;
constexpr unsigned of_transactions = refused_by_scripts | Kind::while_busy;
constexpr unsigned of_pubsub = Kind::pubsub | always;
constexpr unsigned at_login = of_transactions | Kind::without_login;
constexpr unsigned of_scripts = Kind::not_in_scripts | Kind::while_stale;

constexpr std::array kinds{
    Kind{"get", 2, Kind::readonly, 1, false, get},
    Kind{"set", -3, Kind::write | Kind::needs_memory, 1, false, set},
    Kind{"incr", 2, Kind::write | Kind::needs_memory, 1, false, incr},
    Kind{"getrange", 4, Kind::readonly, 1, false, getrange},
    Kind{"strlen", 2, Kind::readonly, 1, false, strlen},
    Kind{"del", -2, Kind::write, 1, true, del},
    Kind{"unlink", -2, Kind::write, 1, true, del},
    Kind{"exists", -2, Kind::readonly, 1, true, exists},
    Kind{"type", 2, Kind::readonly, 1, false, type},
    Kind{"pttl", 2, Kind::readonly, 1, false, pttl},
    Kind{"ttl", 2, Kind::readonly, 1, false, ttl},
    Kind{"persist", 2, Kind::write, 1, false, persist},
    Kind{"pexpire", -3, Kind::write, 1, false, pexpire},
    Kind{"expire", -3, Kind::write, 1, false, expire_seconds},
    Kind{"pexpireat", -3, Kind::write, 1, false, pexpireat},
    Kind{"dbsize", 1, Kind::readonly, 0, false, dbsize},
    Kind{"time", 1, always, 0, false, time},
    Kind{"rpush", -3, Kind::write | Kind::needs_memory, 1, false, rpush},
    Kind{"lpush", -3, Kind::write | Kind::needs_memory, 1, false, lpush},
    Kind{"lpop", -2, Kind::write, 1, false, lpop},
    Kind{"rpop", -2, Kind::write, 1, false, rpop},
    Kind{"llen", 2, Kind::readonly, 1, false, llen},
    Kind{"lindex", 3, Kind::readonly, 1, false, lindex},
    Kind{"lset", 4, Kind::write | Kind::needs_memory, 1, false, lset},
    Kind{"lrem", 4, Kind::write, 1, false, lrem},
    Kind{"lrange", 4, Kind::readonly, 1, false, lrange},
    Kind{"lpos", -3, Kind::readonly, 1, false, lpos},
    Kind{"zadd", -4, Kind::write | Kind::needs_memory, 1, false, zadd},
    Kind{"zrem", -3, Kind::write, 1, false, zrem},
    Kind{"zcard", 2, Kind::readonly, 1, false, zcard},
    Kind{"zscore", 3, Kind::readonly, 1, false, zscore},
    Kind{"zrange", -4, Kind::readonly, 1, false, zrange},
    Kind{"zremrangebyscore", 4, Kind::write, 1, false, zremrangebyscore},
    Kind{"flushdb", -1, Kind::write, 0, false, nullptr},
    Kind{"flushall", -1, Kind::write, 0, false, nullptr},
    Kind{"select", 2, always, 0, false, nullptr},
    Kind{"ping", -1, Kind::none, 0, false, nullptr},
    Kind{"quit", -1, at_login, 0, false, nullptr},
    Kind{"auth", -2, at_login, 0, false, nullptr},
    Kind{"asking", 1, Kind::none, 0, false, nullptr},
    Kind{"cluster|slots", 2, always, 0, false, nullptr},
    Kind{"cluster|nodes", 2, always, 0, false, nullptr},
    Kind{"config|get", -3, refused_by_scripts, 0, false, nullptr},
    Kind{"role", 1, refused_by_scripts, 0, false, nullptr},
    Kind{"info", -1, always, 0, false, nullptr},
    Kind{"command|info", -2, always, 0, false, nullptr},
    Kind{"client|id", 2, refused_by_scripts, 0, false, nullptr},
    Kind{"client|setname", 3, refused_by_scripts, 0, false, nullptr},
    Kind{"client|getname", 2, refused_by_scripts, 0, false, nullptr},
    Kind{"client|tracking", -3, refused_by_scripts, 0, false, nullptr},
    Kind{"client|caching", 3, refused_by_scripts, 0, false, nullptr},
    Kind{"client|kill", -3, refused_by_scripts, 0, false, nullptr},
    Kind{"multi", 1, of_transactions, 0, false, nullptr},
    Kind{"exec", 1, refused_by_scripts, 0, false, nullptr},
    Kind{"discard", 1, of_transactions, 0, false, nullptr},
    Kind{"watch", -2, of_transactions, 1, true, nullptr},
    Kind{"unwatch", 1, of_transactions, 0, false, nullptr},
    Kind{"publish", 3, of_pubsub, 0, false, nullptr},
    Kind{"spublish", 3, of_pubsub, 1, false, nullptr},
    Kind{"subscribe", -2, of_pubsub | Kind::not_in_scripts, 0, false, nullptr},
    Kind{"unsubscribe", -1, of_pubsub | Kind::not_in_scripts, 0, false, nullptr},
    Kind{"psubscribe", -2, of_pubsub | Kind::not_in_scripts, 0, false, nullptr},
    Kind{"punsubscribe", -1, of_pubsub | Kind::not_in_scripts, 0, false, nullptr},
    Kind{"ssubscribe", -2, of_pubsub | Kind::not_in_scripts, 1, true, nullptr},
    Kind{"sunsubscribe", -1, of_pubsub | Kind::not_in_scripts, 1, true, nullptr},
    Kind{"pubsub|numsub", -2, of_pubsub, 0, false, nullptr},
    Kind{"pubsub|shardnumsub", -2, of_pubsub, 0, false, nullptr},
    Kind{"pubsub|numpat", 2, of_pubsub, 0, false, nullptr},
    Kind{"wait", 3, Kind::not_in_scripts, 0, false, nullptr},
    Kind{"waitaof", 4, Kind::not_in_scripts, 0, false, nullptr},
    Kind{"eval", -3, of_scripts, 0, false, nullptr},
    Kind{"evalsha", -3, of_scripts, 0, false, nullptr},
    Kind{"script|load", 3, of_scripts, 0, false, nullptr},
    Kind{"script|exists", -3, Kind::not_in_scripts, 0, false, nullptr},
    Kind{"script|flush", -2, Kind::not_in_scripts, 0, false, nullptr}};

constexpr std::array containers{"client", "cluster", "command", "config", "pubsub", "script"};

}  // namespace

std::string lower(std::string_view text) {
  std::string small(text);
  for (char& c : small) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return small;
}

bool is_word(std::string_view text, std::string_view lower_case) noexcept {
  return std::ranges::equal(text, lower_case, [](char one, char small) {
    return (one >= 'A' && one <= 'Z' ? static_cast<char>(one - 'A' + 'a') : one) == small;
  });
}

bool has_subcommands(std::string_view name) {
  return std::ranges::any_of(containers,
                             [&](const char* container) { return is_word(name, container); });
}

std::string unknown_command(Words words) {
  if (has_subcommands(words[0])) {
    if (words.size() == 1) {
      return "ERR wrong number of arguments for '" + lower(words[0]) + "' command";
    }
    std::string name(words[0]);
    std::ranges::transform(name, name.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return "ERR unknown subcommand '" + std::string(words[1].substr(0, 128)) + "'. Try " + name +
           " HELP.";
  }
  constexpr std::size_t limit = 128;
  std::string arguments;
  for (std::size_t i = 1; i < words.size() && arguments.size() < limit; ++i) {
    arguments += '\'';
    arguments += words[i].substr(0, limit - arguments.size() + 1);
    arguments += "' ";
  }
  return "ERR unknown command '" + std::string(words[0].substr(0, limit)) +
         "', with args beginning with: " + arguments;
}

Words CommandKind::keys_in(Words words) const {
  if (name.starts_with("eval")) {
    const auto count = integer_in(words[2]).value_or(0);
    const bool is_good = count > 0 && static_cast<std::size_t>(count) <= words.size() - 3;
    return is_good ? words.subspan(3, static_cast<std::size_t>(count)) : Words();
  }
  if (first_key == 0) return {};
  return has_more_keys ? words.subspan(first_key) : words.subspan(first_key, 1);
}

const CommandKind* find_command(Words words) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, const CommandKind*> all;
    for (const CommandKind& kind : kinds) all.emplace(kind.name, &kind);
    return all;
  }();
  std::string name = lower(words[0]);
  if (words.size() > 1 && has_subcommands(name)) name += '|' + lower(words[1]);
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

std::optional<std::int64_t> integer_in(std::string_view text) noexcept {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.starts_with('0') && text != "0") return std::nullopt;
  return value;
}

}  // namespace redlatch::test
