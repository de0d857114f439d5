#include "replication.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace redlatch::test {
namespace {

/// What may say that a lock is held: of its own key, not of a queue or a counter.
bool is_lock(std::string_view key) { return key.find(":redlatch:") == std::string_view::npos; }

struct Held {
  std::string value;
  std::int64_t until;  // milliseconds by the server's clock
};

/// The holders that are stored.
std::vector<Held> holders_in(const FakeKeyspace::Entry& entry) {
  constexpr std::int64_t never = 1'000'000'000'000'000;
  std::vector<Held> all;
  if (const auto* text = std::get_if<std::string>(&entry.value)) {
    all.push_back({*text, entry.expiry.value_or(never)});
  } else if (const auto* set = std::get_if<SortedSet>(&entry.value)) {
    for (std::size_t i = 0; i < set->size(); ++i) {
      all.push_back({(*set)[i].second, static_cast<std::int64_t>((*set)[i].first)});
    }
  }
  return all;
}

bool has(const FakeKeyspace::Entry* entry, const Held& holder) {
  if (entry == nullptr) return false;
  return std::ranges::any_of(holders_in(*entry), [&](const Held& one) {
    return one.value == holder.value && one.until >= holder.until;
  });
}

}  // namespace

void Replication::add(SimServer& server) {
  Member& added = members_.emplace_back(*this, members_.size(), server);
  server.fake().set_replicas(&added);
  added.follows = members_.size() > 1;
  if (added.follows) server.fake().set_role(FakeServer::Role::replica);
}

std::size_t Replication::member(const SimServer& server) const {
  const auto found = std::ranges::find(members_, &server, &Member::server);
  return static_cast<std::size_t>(found - members_.begin());
}

bool Replication::is_complete() const {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (i != primary_ && !members_[i].follows) return false;
  }
  return true;
}

std::uint64_t Replication::write(std::size_t from, Changes changes) {
  const Write write{.at = world_.now(), .changes = std::move(changes)};
  if (from != primary_) {
    note_lost(from, write, true);
    return end();
  }
  writes_.push_back(write);
  members_[from].has = end();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].follows) send(i, end());
  }
  forget_old_writes();
  return end();
}

void Replication::send(std::size_t replica, std::uint64_t number) {
  Member& to = members_[replica];
  to.next = std::max({to.next, to.delayed, world_.now() + world_.between(SimTime{}, max_delay_)});
  world_.at(to.next, [this, replica, number, epoch = to.epoch] {
    Member& one = members_[replica];
    if (one.epoch != epoch || !one.follows) return;
    one.arrived = std::max(one.arrived, number);
    take(replica);
  });
}

void Replication::take(std::size_t replica) {
  Member& to = members_[replica];
  if (!to.follows || !to.server->runs()) return;
  if (world_.now() < to.delayed) {
    world_.at(to.delayed, [this, replica] { take(replica); });
    return;
  }
  if (to.has >= to.arrived) return;
  while (to.has < to.arrived) to.server->fake().apply(writes_[to.has++ - first_].changes);
  to.server->speak();
  confirm(replica);
  forget_old_writes();
}

/// The primary hears of it a little later.
void Replication::confirm(std::size_t replica) {
  const Member& from = members_[replica];
  const SimTime at = world_.now() + world_.between(SimTime{}, max_delay_);
  world_.at(at, [this, replica, epoch = from.epoch, has = from.has] {
    Member& one = members_[replica];
    if (one.epoch != epoch) return;
    one.confirmed_ = std::max(one.confirmed_, has);
    answer_waits(primary_);
  });
}

void Replication::answer_waits(std::size_t at) {
  SimServer& server = *members_[at].server;
  if (!server.runs()) return;
  server.fake().answer_waits();
  server.speak();
}

/// A former primary may have replicas that do not know it yet, and confirm what they get.
int Replication::confirmed(std::size_t at, std::uint64_t writes) const {
  int count = 0;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (i == at || i == primary_) continue;
    const Member& one = members_[i];
    count += (at == primary_ ? one.follows && one.confirmed_ >= writes : !one.follows) ? 1 : 0;
  }
  return count;
}

void Replication::wait(std::size_t at, std::chrono::milliseconds time) {
  // Its clock may be slower.
  world_.at(world_.now() + time + time / 50 + std::chrono::milliseconds(2),
            [this, at] { answer_waits(at); });
}

void Replication::delay(std::size_t replica, SimTime time) {
  Member& to = members_[replica];
  to.delayed = std::max(to.delayed, world_.now() + time);
}

void Replication::catch_up(std::size_t replica) {
  Member& to = members_[replica];
  to.arrived = end();
  to.delayed = {};
  take(replica);
}

void Replication::promote(std::size_t replica) {
  Member& to = members_[replica];
  const std::size_t former = primary_;
  primary_ = replica;
  to.server->fake().set_role(FakeServer::Role::primary);
  const std::deque<Write> all = std::exchange(writes_, {});
  for (std::uint64_t number = to.has; number < first_ + all.size(); ++number) {
    note_lost(former, all[number - first_], false);
  }
  failovers_.push_back(world_.now());
  first_ = to.has;
  for (Member& one : members_) {
    one.follows = false;
    ++one.epoch;
  }
}

void Replication::follow(std::size_t member, SimTime time) {
  Member& one = members_[member];
  one.follows = false;
  one.server->fake().set_role(FakeServer::Role::replica);
  const std::uint64_t epoch = ++one.epoch;
  world_.at(world_.now() + time, [this, member, epoch] { copy(member, epoch); });
}

void Replication::copy(std::size_t member, std::uint64_t epoch) {
  Member& one = members_[member];
  if (one.epoch != epoch || member == primary_) return;
  if (!one.server->runs() || !primary_server().runs()) {
    constexpr SimTime pause = std::chrono::milliseconds(50);
    world_.at(world_.now() + pause, [this, member, epoch] { copy(member, epoch); });
    return;
  }
  one.server->fake().copy_data(primary_server().fake());
  one.server->speak();
  one.has = one.arrived = one.confirmed_ = end();
  one.next = one.delayed = {};
  one.follows = true;
}

void Replication::go_on(std::size_t member) {
  take(member);
  answer_waits(member);
}

void Replication::forget(std::size_t member) {
  if (member != primary_) return follow(member, SimTime{});
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (i != primary_ && members_[i].follows) follow(i, max_delay_);
  }
}

void Replication::note_lost(std::size_t at, const Write& write, bool at_former) {
  const SimServer& from = *members_[at].server;
  for (const FakeKeyspace::Change& change : write.changes) {
    if (!change.entry || !is_lock(change.key)) continue;
    for (const Held& holder : holders_in(*change.entry)) {
      if (has(primary_server().fake().entry(change.key), holder)) continue;
      lost_.push_back({.key = change.key,
                       .value = holder.value,
                       .at = write.at,
                       .until = from.time_of(holder.until + 1),
                       .failover = failovers_.size() - (at_former ? 1 : 0),
                       .at_former = at_former});
    }
  }
}

void Replication::forget_old_writes() {
  std::uint64_t least = end();
  for (const Member& one : members_) {
    if (one.follows) least = std::min(least, one.has);
  }
  for (; first_ < least; ++first_) writes_.pop_front();
}

}  // namespace redlatch::test
