#include "fake_tracking.hpp"

#include <string_view>
#include <utility>

#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using namespace resp;

constexpr std::string_view invalidated = "__redis__:invalidate";

}  // namespace

// By name only, whatever the database is: so does Redis.
void FakeTracking::remember(const FakeClient& tracker, Words keys) {
  const FakeClient::Tracking& tracking = tracker.tracking;
  if (!tracking.is_on || (tracking.opt_in && !tracking.caching) ||
      (tracking.opt_out && tracking.caching)) {
    return;
  }
  for (const std::string_view key : keys) tracked_[std::string(key)].insert(tracker.id);
}

void FakeTracking::invalidate(std::string_view key) {
  const auto found = tracked_.find(key);
  if (found == tracked_.end()) return;
  const std::string name(key);
  const std::set<std::uint64_t> ids = std::move(found->second);
  tracked_.erase(found);
  for (const std::uint64_t id : ids) {
    const FakeClient* const tracker = client_with(clients_, id);
    if (tracker == nullptr || !tracker->tracking.is_on) continue;
    if (tracker != running_) {
      send_tracked(*tracker, &name);
    } else if (!tracker->tracking.no_loop) {
      pending_.emplace_back(name);  // behind the reply to its own command
    }
  }
}

void FakeTracking::invalidate_all() {
  for (const auto& one : clients_) {
    if (!one.second.tracking.is_on) continue;
    if (&one.second == running_) {
      pending_.emplace_back();
    } else {
      send_tracked(one.second, nullptr);
    }
  }
  tracked_.clear();
}

void FakeTracking::send_pending() {
  for (const auto& key : std::exchange(pending_, {})) {
    send_tracked(*running_, key ? &*key : nullptr);
  }
}

/// Null: all keys. In RESP2, only a connection with subscriptions can be sent anything unasked.
void FakeTracking::send_tracked(const FakeClient& tracker, const std::string* key) {
  FakeClient* const target = client_with(clients_, tracker.tracking.redirect);
  if (target == nullptr || !target->channels.any()) return;
  append_array(target->output, 3);
  append_bulk(target->output, "message");
  append_bulk(target->output, invalidated);
  if (key == nullptr) return append_nil(target->output);
  append_array(target->output, 1);
  append_bulk(target->output, *key);
}

void FakeTracking::track(FakeClient& client, Words words) {
  std::string& out = client.output;
  FakeClient::Tracking wanted{.is_on = true, .caching = client.tracking.caching};
  for (std::size_t i = 3; i < words.size(); ++i) {
    if (is_word(words[i], "redirect") && i + 1 < words.size()) {
      if (wanted.redirect != 0) {
        return append_error(out, "ERR A client can only redirect to a single other client");
      }
      const auto id = integer_in(words[++i]);
      if (!id) return append_error(out, resp::no_integer);
      wanted.redirect = static_cast<std::uint64_t>(*id);
      if (client_with(clients_, wanted.redirect) == nullptr) {
        return append_error(out, "ERR The client ID you want redirect to does not exist");
      }
    } else if (is_word(words[i], "optin")) {
      wanted.opt_in = true;
    } else if (is_word(words[i], "optout")) {
      wanted.opt_out = true;
    } else if (is_word(words[i], "noloop")) {
      wanted.no_loop = true;
    } else {
      return append_error(out, resp::syntax_error);
    }
  }
  const bool is_on = is_word(words[2], "on");
  if (!is_on && !is_word(words[2], "off")) return append_error(out, resp::syntax_error);
  if (is_on && wanted.opt_in && wanted.opt_out) {
    return append_error(out, "ERR You can't specify both OPTIN mode and OPTOUT mode");
  }
  if (is_on &&
      ((wanted.opt_in && client.tracking.opt_out) || (wanted.opt_out && client.tracking.opt_in))) {
    return append_error(out,
                        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for "
                        "this client, and then re-enabling it with a different mode.");
  }
  // What is pending in a transaction is sent although tracking has ended meanwhile.
  client.tracking = is_on ? wanted : FakeClient::Tracking{.redirect = client.tracking.redirect};
  append_ok(out);
}

void FakeTracking::caching(FakeClient& client, Words words) {
  std::string& out = client.output;
  if (!client.tracking.is_on) {
    return append_error(out,
                        "ERR CLIENT CACHING can be called only when the client is in tracking "
                        "mode with OPTIN or OPTOUT mode enabled");
  }
  const bool yes = is_word(words[2], "yes");
  if (!yes && !is_word(words[2], "no")) return append_error(out, resp::syntax_error);
  if (!(yes ? client.tracking.opt_in : client.tracking.opt_out)) {
    return append_error(out, yes ? "ERR CLIENT CACHING YES is only valid when tracking is enabled "
                                   "in OPTIN mode."
                                 : "ERR CLIENT CACHING NO is only valid when tracking is enabled "
                                   "in OPTOUT mode.");
  }
  client.tracking.caching = true;
  append_ok(out);
}

}  // namespace redlatch::test
