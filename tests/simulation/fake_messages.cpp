#include "fake_messages.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using namespace resp;

/// A pattern with * and ?, as those of PSUBSCRIBE. It has no classes of characters.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern.front() == '?' || pattern.front() == text.front()) &&
         matches(pattern.substr(1), text.substr(1));
}

void append_message(std::string& out, std::string_view kind, std::string_view channel,
                    std::string_view text) {
  append_array(out, 3);
  append_bulk(out, kind);
  append_bulk(out, channel);
  append_bulk(out, text);
}

/// What is said of each change of a client's subscriptions. Null: there was none to end.
void append_change(std::string& out, std::string_view verb, const std::string_view* channel,
                   std::size_t count) {
  append_array(out, 3);
  append_bulk(out, verb);
  if (channel != nullptr) {
    append_bulk(out, *channel);
  } else {
    append_nil(out);
  }
  append_integer(out, static_cast<std::int64_t>(count));
}

/// Ends the subscriptions that a command names, or all. `count` is asked behind each.
template <class Count>
void unsubscribe_from(FakeClient::Channels::Names& channels, std::string_view verb, Words words,
                      std::string& out, Count count) {
  std::vector<std::string> named(words.begin() + 1, words.end());
  if (named.empty()) named.assign(channels.begin(), channels.end());
  for (const std::string_view channel : named) {
    channels.erase(std::string(channel));
    append_change(out, verb, &channel, count());
  }
  if (named.empty()) append_change(out, verb, nullptr, count());
}

}  // namespace

std::size_t FakeMessages::subscribers(std::string_view channel) const {
  return static_cast<std::size_t>(std::ranges::count_if(clients_, [&](const auto& one) {
    return one.second.channels.plain.contains(channel) ||
           one.second.channels.of_shard.contains(channel);
  }));
}

void FakeMessages::end_shard_channels(const std::function<bool(std::string_view)>& is_out) {
  for (auto& one : clients_) {
    auto& channels = one.second.channels.of_shard;
    for (auto channel = channels.begin(); channel != channels.end();) {
      if (!is_out(*channel)) {
        ++channel;
        continue;
      }
      const std::string name = *channel;
      channel = channels.erase(channel);
      const std::string_view ended(name);
      append_change(one.second.output, "sunsubscribe", &ended, channels.size());
    }
  }
}

std::int64_t FakeMessages::publish_to(std::string_view channel, std::string_view message,
                                      bool of_shard) {
  std::int64_t receivers = 0;
  for (auto& one : clients_) {
    FakeClient& client = one.second;
    const auto& channels = of_shard ? client.channels.of_shard : client.channels.plain;
    if (channels.contains(channel)) {
      append_message(client.output, of_shard ? "smessage" : "message", channel, message);
      ++receivers;
    }
    if (of_shard) continue;
    for (const std::string& pattern : client.channels.patterns) {
      if (!matches(pattern, channel)) continue;
      append_array(client.output, 4);
      for (const std::string_view text :
           {std::string_view("pmessage"), std::string_view(pattern), channel, message}) {
        append_bulk(client.output, text);
      }
      ++receivers;
    }
  }
  return receivers;
}

void FakeMessages::publish(FakeClient& client, Words words) {
  const std::int64_t receivers = publish_to(words[1], words[2], false);
  append_integer(client.output, receivers);
}
void FakeMessages::shard_publish(FakeClient& client, Words words) {
  const std::int64_t receivers = publish_to(words[1], words[2], true);
  append_integer(client.output, receivers);
}

void FakeMessages::subscribe(FakeClient& client, Words words) {
  for (const std::string_view channel : words.subspan(1)) {
    client.channels.plain.emplace(channel);
    append_change(client.output, "subscribe", &channel, client.channels.count());
  }
}
void FakeMessages::subscribe_pattern(FakeClient& client, Words words) {
  for (const std::string_view pattern : words.subspan(1)) {
    client.channels.patterns.emplace(pattern);
    append_change(client.output, "psubscribe", &pattern, client.channels.count());
  }
}
void FakeMessages::shard_subscribe(FakeClient& client, Words words) {
  if (client.is_executing) {
    return append_error(client.output, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
  }
  for (const std::string_view channel : words.subspan(1)) {
    client.channels.of_shard.emplace(channel);
    append_change(client.output, "ssubscribe", &channel, client.channels.of_shard.size());
  }
}

void FakeMessages::unsubscribe(FakeClient& client, Words words) {
  unsubscribe_from(client.channels.plain, "unsubscribe", words, client.output,
                   [&] { return client.channels.count(); });
}
void FakeMessages::unsubscribe_pattern(FakeClient& client, Words words) {
  unsubscribe_from(client.channels.patterns, "punsubscribe", words, client.output,
                   [&] { return client.channels.count(); });
}
void FakeMessages::shard_unsubscribe(FakeClient& client, Words words) {
  unsubscribe_from(client.channels.of_shard, "sunsubscribe", words, client.output,
                   [&] { return client.channels.of_shard.size(); });
}

void FakeMessages::count_subscribers(FakeClient& client, Words words) {
  append_array(client.output, (words.size() - 2) * 2);
  for (const std::string_view channel : words.subspan(2)) {
    append_bulk(client.output, channel);
    append_integer(client.output, std::ranges::count_if(clients_, [&](const auto& one) {
                     return one.second.channels.plain.contains(channel);
                   }));
  }
}
void FakeMessages::count_shard_subscribers(FakeClient& client, Words words) {
  append_array(client.output, (words.size() - 2) * 2);
  for (const std::string_view channel : words.subspan(2)) {
    append_bulk(client.output, channel);
    append_integer(client.output, std::ranges::count_if(clients_, [&](const auto& one) {
                     return one.second.channels.of_shard.contains(channel);
                   }));
  }
}
void FakeMessages::count_patterns(FakeClient& client, Words) {
  FakeClient::Channels::Names patterns;
  for (const auto& one : clients_) {
    patterns.insert(one.second.channels.patterns.begin(), one.second.channels.patterns.end());
  }
  append_integer(client.output, static_cast<std::int64_t>(patterns.size()));
}

}  // namespace redlatch::test
