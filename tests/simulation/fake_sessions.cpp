#include "fake_sessions.hpp"

#include <algorithm>
#include <utility>

#include "resp_out.hpp"

namespace redlatch::test {

using namespace resp;

FakeSessions::Connection FakeSessions::connect() {
  const auto is_open = [](const auto& one) { return !one.second.is_closed; };
  const auto open = static_cast<std::size_t>(std::ranges::count_if(clients_, is_open));
  FakeClient& client = clients_[next_connection_];
  client.is_logged_in = options_.password.empty();
  if (open < options_.max_clients) {
    client.id = next_client_++;
  } else {
    append_error(client.output, "ERR max number of clients reached");
    close(client);
  }
  return next_connection_++;
}

std::string FakeSessions::take_output(Connection connection) {
  return std::exchange(clients_.at(connection).output, {});
}

std::vector<FakeSessions::Connection> FakeSessions::with_output() const {
  std::vector<Connection> all;
  for (const auto& [connection, client] : clients_) {
    if (!client.output.empty()) all.push_back(connection);
  }
  return all;
}

void FakeSessions::close(FakeClient& client) {
  client.is_closed = true;
  client.input.clear();
  client.channels = {};
  client.tracking = {};
  client.transaction = {};
  client.wait.reset();
}

void FakeSessions::restart() {
  for (auto& one : clients_) {
    close(one.second);
    one.second.output.clear();
  }
  next_client_ = options_.first_client;
}

// Redis: the protocol specification, and the limits of clients that have not logged in.
std::optional<std::vector<std::string_view>> FakeSessions::take_words(FakeClient& client,
                                                                      std::string_view& rest) {
  const auto fail = [&](std::string_view problem) {
    append_error(client.output, "ERR Protocol error: " + std::string(problem));
    close(client);
    return std::nullopt;
  };
  std::string_view left = rest;
  const auto take_line = [&]() -> std::optional<std::string_view> {
    const std::size_t end = left.find("\r\n");
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = left.substr(0, end);
    left.remove_prefix(end + 2);
    return line;
  };
  const auto head = take_line();
  if (!head) return std::nullopt;
  const auto size = head->starts_with('*') ? integer_in(head->substr(1)) : std::nullopt;
  constexpr std::int64_t max_words = 1 << 30;
  if (!size || *size > max_words) return fail("invalid multibulk length");
  if (*size > 10 && needs_login(client)) return fail("unauthenticated multibulk length");
  std::vector<std::string_view> words;
  for (std::int64_t i = 0; i < *size; ++i) {
    const auto line = take_line();
    if (!line) return std::nullopt;
    if (!line->starts_with('$')) {
      return fail("expected '$', got '" + std::string(line->substr(0, 1)) + "'");
    }
    const auto length = integer_in(line->substr(1));
    if (!length || *length < 0) return fail("invalid bulk length");
    if (*length > 16384 && needs_login(client)) return fail("unauthenticated bulk length");
    const auto bytes = static_cast<std::size_t>(*length);
    if (left.size() < bytes + 2) return std::nullopt;
    words.push_back(left.substr(0, bytes));
    left.remove_prefix(bytes + 2);
  }
  rest = left;
  return words;
}

void FakeSessions::select(FakeClient& client, Words words) {
  const auto database = integer_in(words[1]);
  if (!database) return append_error(client.output, resp::no_integer);
  if (*database < 0 || *database >= options_.databases) {
    return append_error(client.output, "ERR DB index is out of range");
  }
  client.database = static_cast<int>(*database);
  append_ok(client.output);
}

void FakeSessions::ping(FakeClient& client, Words words) {
  if (words.size() > 2) {
    return append_error(client.output, "ERR wrong number of arguments for 'ping' command");
  }
  if (client.channels.any()) {
    append_array(client.output, 2);
    append_bulk(client.output, "pong");
    return append_bulk(client.output, words.size() == 2 ? words[1] : "");
  }
  if (words.size() == 2) return append_bulk(client.output, words[1]);
  resp::append_status(client.output, "PONG");
}

void FakeSessions::quit(FakeClient& client, Words) {
  append_ok(client.output);
  client.ends = true;
}

void FakeSessions::auth(FakeClient& client, Words words) {
  if (words.size() > 3) return append_error(client.output, resp::syntax_error);
  if (words.size() == 2 && options_.password.empty()) {
    return append_error(client.output,
                        "ERR AUTH <password> called without any password configured for the "
                        "default user. Are you sure your configuration is correct?");
  }
  const bool is_user = words.size() == 2 || words[1] == "default";
  if (!is_user || (!options_.password.empty() && words.back() != options_.password)) {
    return append_error(client.output,
                        "WRONGPASS invalid username-password pair or user is disabled.");
  }
  client.is_logged_in = true;
  append_ok(client.output);
}

void FakeSessions::get_id(FakeClient& client, Words) {
  append_integer(client.output, static_cast<std::int64_t>(client.id));
}

void FakeSessions::set_name(FakeClient& client, Words words) {
  const bool is_bad = std::ranges::any_of(words[2], [](char c) { return c < '!' || c > '~'; });
  if (is_bad) {
    return append_error(client.output,
                        "ERR Client names cannot contain spaces, newlines or special characters.");
  }
  client.name = words[2];
  append_ok(client.output);
}

void FakeSessions::get_name(FakeClient& client, Words) {
  if (client.name.empty()) return append_nil(client.output);
  append_bulk(client.output, client.name);
}

/// By id only; an address is one of no client.
void FakeSessions::kill(FakeClient& client, Words words) {
  std::string& out = client.output;
  if (words.size() == 3) return append_error(out, "ERR No such client");
  std::optional<std::int64_t> id;
  bool spares_itself = true;
  for (std::size_t i = 2; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return append_error(out, resp::syntax_error);
    if (is_word(words[i], "id")) {
      id = integer_in(words[i + 1]);
      if (!id || *id < 1) return append_error(out, "ERR client-id should be greater than 0");
    } else if (is_word(words[i], "skipme") &&
               (is_word(words[i + 1], "yes") || is_word(words[i + 1], "no"))) {
      spares_itself = is_word(words[i + 1], "yes");
    } else {
      return append_error(out, resp::syntax_error);
    }
  }
  std::int64_t killed = 0;
  bool kills_itself = false;
  for (auto& one : clients_) {
    FakeClient& other = one.second;
    if (other.is_closed || (id && other.id != static_cast<std::uint64_t>(*id))) continue;
    if (&other == &client) {
      kills_itself = !spares_itself;
      killed += kills_itself ? 1 : 0;
      continue;
    }
    other.output.resize(other.written);
    close(other);
    ++killed;
  }
  append_integer(out, killed);
  client.ends |= kills_itself;
}

}  // namespace redlatch::test
