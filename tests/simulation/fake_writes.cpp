#include "fake_writes.hpp"

#include "resp_out.hpp"

namespace redlatch::test {
namespace {

/// Of a WAIT without end, in milliseconds.
constexpr std::int64_t max_wait = 3'600'000;

}  // namespace

void FakeWrites::note(int database, std::string_view key) {
  if (has_replicas()) changed_.emplace(database, key);
}

void FakeWrites::note_all(int database) {
  const auto keys = keys_.databases().find(database);
  if (keys == keys_.databases().end()) return;
  for (const auto& one : keys->second) note(database, one.first);
}

std::uint64_t FakeWrites::send() {
  if (!changed_.empty()) {
    FakeReplicas::Changes changes;
    for (const auto& [database, key] : changed_) changes.push_back(keys_.state(database, key));
    changed_.clear();
    writes_ = replicas_->write(std::move(changes));
  }
  return writes_;
}

void FakeWrites::wait(FakeClient& client, std::int64_t replicas, std::int64_t time) {
  const int confirmed = replicas_->confirmed(client.writes);
  if (confirmed >= replicas || client.is_executing) {
    return resp::append_integer(client.output, confirmed);
  }
  if (time == 0) time = max_wait;
  client.wait = {.replicas = replicas, .writes = client.writes, .until = keys_.now() + time};
  replicas_->wait(std::chrono::milliseconds(time));
}

bool FakeWrites::answer(FakeClient& client) {
  const int confirmed = replicas_->confirmed(client.wait->writes);
  if (confirmed < client.wait->replicas && keys_.now() < client.wait->until) return false;
  client.wait.reset();
  resp::append_integer(client.output, confirmed);
  return true;
}

}  // namespace redlatch::test
