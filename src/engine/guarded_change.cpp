#include "engine/guarded_change.hpp"

#include <cassert>
#include <cstdint>
#include <string_view>
#include <utility>

#include <redlatch/protocol/native.hpp>

#include "engine/refusal.hpp"

namespace redlatch::detail {

using protocol::Command;
using protocol::Expect;
using protocol::Reply;

void GuardedChange::begin(const Command& call, RespStream& stream, bool asks) {
  call_ = call;
  asks_ = asks;
  abandoned_ = false;
  look(stream);
}

void GuardedChange::look(RespStream& stream) {
  const std::string_view key = call_.argument(0);
  const auto last = static_cast<std::int64_t>(call_.argument(1).size());
  step_ = Step::looking;
  count_ = 0;
  // Where MULTI is refused, the change would be made at once: MULTI is sent, and answered, before
  // it. At most one byte more than the token is read, however long the value is. EXISTS tells an
  // absent key from one with an empty value, which is another program's.
  // ASKING in front of MULTI counts for all of the transaction.
  const auto append = [&](const Command& command) {
    stream.append(command, ScriptCall::by_hash, asks_);
  };
  append(Command(Expect::status, "WATCH", key));
  append(Command(Expect::integer, "EXISTS", key));
  append(Command(Expect::text_or_nil, "GETRANGE", key, std::int64_t{0}, last));
  append(Command(Expect::status, "MULTI"));
}

Expect GuardedChange::expected() const noexcept {
  constexpr std::array looking{Expect::status, Expect::integer, Expect::text_or_nil,
                               Expect::status};
  if (step_ == Step::looking) return looking.at(count_);
  return changes_ && count_ == 0 ? Expect::anything : Expect::array_or_nil;
}

std::optional<Reply> GuardedChange::received(Reply reply, TimePoint now, TimePoint end,
                                             RespStream& stream) {
  assert(step_ != Step::given_up);
  replies_.at(count_++) = std::move(reply);
  if (step_ == Step::looking) return count_ < 4 ? std::nullopt : looked(stream);
  if (!is_answered()) return std::nullopt;
  if (std::optional<Reply> done = changed(); done || abandoned_) return done ? done : Reply{};
  if (now >= end) {
    step_ = Step::given_up;
  } else {
    look(stream);
  }
  return std::nullopt;
}

/// Nothing: EXEC is sent, with the change in front of it or without.
std::optional<Reply> GuardedChange::looked(RespStream& stream) {
  auto& [watched, exists, holder, begun] = replies_;
  if (exists.is_error()) holder = exists;
  if (begun.is_error()) return refused_for_certain(watched.is_error() ? watched : begun);
  // An absent key is written to as well: see exclusive.hpp.
  const bool theirs = exists.integer != 0 && !abandoned_ && holder.text != call_.argument(1);
  changes_ = !watched.is_error() && !holder.is_error() && !theirs && !abandoned_;
  if (changes_) {
    stream.append(protocol::guarded_change(call_));
  } else if (watched.is_error()) {
    outcome_ = refused_for_certain(std::move(watched));
  } else {
    outcome_ = holder.is_error() ? refused_for_certain(std::move(holder))
                                 : Reply{.kind = Reply::Kind::integer};
  }
  stream.append(Command(Expect::array_or_nil, "EXEC"));
  step_ = Step::changing;
  count_ = 0;
  return std::nullopt;
}

/// Nothing when another client has changed the key in between.
std::optional<Reply> GuardedChange::changed() {
  if (!changes_) return std::move(outcome_);
  auto& [queued, done, unused, none] = replies_;
  if (queued.is_error()) return std::move(queued);
  if (done.elements.size() == 1) return std::move(done.elements.front());
  if (done.is_error()) return std::move(done);
  return std::nullopt;
}

}  // namespace redlatch::detail
