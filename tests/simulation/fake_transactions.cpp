#include "fake_transactions.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "resp_out.hpp"

namespace redlatch::test {

using namespace resp;

void FakeTransactions::touch(int database, std::string_view key) {
  for (auto& one : clients_) {
    FakeClient::Transaction& transaction = one.second.transaction;
    const auto watched = std::ranges::find_if(
        transaction.watched,
        [&](const FakeClient::WatchedKey& of) { return of.database == database && of.key == key; });
    if (watched == transaction.watched.end()) continue;
    if (watched->was_expired) {
      // It was absent already; from now on any change counts.
      watched->was_expired = keys_.is_stored(database, key);
      continue;
    }
    transaction.is_touched = true;
    transaction.watched.clear();
  }
}

void FakeTransactions::touch_all(int database) {
  for (auto& one : clients_) {
    FakeClient::Transaction& transaction = one.second.transaction;
    for (FakeClient::WatchedKey& watched : transaction.watched) {
      if (watched.database != database || !keys_.is_stored(database, watched.key)) continue;
      if (!std::exchange(watched.was_expired, false)) transaction.is_touched = true;
    }
  }
}

void FakeTransactions::queue(FakeClient& client, const CommandKind& kind, Words words) {
  FakeClient::Transaction& transaction = client.transaction;
  resp::append_status(client.output, "QUEUED");
  if (transaction.is_touched || transaction.is_refused) return;  // EXEC will not run it
  transaction.queued.emplace_back(words.begin(), words.end());
  transaction.flags |= kind.flags;
  transaction.common_flags &= kind.flags;
}

void FakeTransactions::multi(FakeClient& client, Words) {
  if (client.transaction.is_open) {
    return append_error(client.output, "ERR MULTI calls can not be nested");
  }
  client.transaction.is_open = true;
  append_ok(client.output);
}

void FakeTransactions::discard(FakeClient& client, Words) {
  if (!client.transaction.is_open) return append_error(client.output, "ERR DISCARD without MULTI");
  client.transaction = {};
  append_ok(client.output);
}

std::optional<FakeTransactions::Commands> FakeTransactions::begin_execution(FakeClient& client) {
  FakeClient::Transaction& transaction = client.transaction;
  if (!transaction.is_open) {
    append_error(client.output, "ERR EXEC without MULTI");
    return std::nullopt;
  }
  const bool is_over =
      std::ranges::any_of(transaction.watched, [&](const FakeClient::WatchedKey& watched) {
        return !watched.was_expired && keys_.is_expired(watched.database, watched.key);
      });
  if (transaction.is_refused || transaction.is_touched || is_over) {
    if (transaction.is_refused) {
      append_error(client.output, "EXECABORT Transaction discarded because of previous errors.");
    } else {
      resp::append_nil_array(client.output);
    }
    transaction = {};
    return std::nullopt;
  }
  transaction.watched.clear();
  return std::exchange(transaction.queued, {});
}

void FakeTransactions::watch(FakeClient& client, Words words) {
  FakeClient::Transaction& transaction = client.transaction;
  if (transaction.is_open) {
    return append_error(client.output, "ERR WATCH inside MULTI is not allowed");
  }
  append_ok(client.output);
  if (transaction.is_touched) return;
  for (const std::string_view key : words.subspan(1)) {
    const bool is_watched =
        std::ranges::any_of(transaction.watched, [&](const FakeClient::WatchedKey& one) {
          return one.database == client.database && one.key == key;
        });
    if (is_watched) continue;
    transaction.watched.push_back(
        {client.database, std::string(key), keys_.is_expired(client.database, key)});
  }
}

void FakeTransactions::unwatch(FakeClient& client, Words) {
  client.transaction.watched.clear();
  client.transaction.is_touched = false;
  append_ok(client.output);
}

}  // namespace redlatch::test
