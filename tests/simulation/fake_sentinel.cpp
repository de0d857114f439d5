#include "fake_sentinel.hpp"

#include <array>

#include "resp_out.hpp"
#include "sim_server.hpp"

namespace redlatch::test {
namespace {

using namespace resp;

constexpr std::string_view host = "127.0.0.1";

/// Names and values. A real one has many more.
void append_fields(std::string& out,
                   std::initializer_list<std::pair<std::string_view, std::string>> fields) {
  append_array(out, 2 * fields.size());
  for (const auto& [name, value] : fields) {
    append_bulk(out, name);
    append_bulk(out, value);
  }
}

}  // namespace

void FakeSentinel::publish(std::string_view event, const std::string& text) {
  const std::array<std::string_view, 3> words{"publish", event, text};
  FakeClient nobody;
  messages_.publish(nobody, words);
}

void FakeSentinel::receive(Connection connection, std::string_view bytes) {
  show_bytes(port_, "->", connection, bytes);
  FakeClient& client = sessions_.clients().at(connection);
  if (client.is_closed) return;
  const std::string input = std::exchange(client.input, {}) + std::string(bytes);
  std::string_view rest(input);
  while (!client.is_closed) {
    const auto words = sessions_.take_words(client, rest);
    if (!words) break;
    if (!words->empty()) answer(connection, client, *words);
  }
  if (!client.is_closed) client.input = rest;
}

void FakeSentinel::answer(Connection connection, FakeClient& client, Words words) {
  if (is_word(words[0], "ping")) return sessions_.ping(client, words);
  if (is_word(words[0], "subscribe") && words.size() > 1) return messages_.subscribe(client, words);
  if (is_word(words[0], "sentinel") && words.size() == 2 && is_word(words[1], "masters")) {
    append_array(client.output, 1);
    return append_fields(client.output, {{"name", service_}});
  }
  if (!is_word(words[0], "sentinel") || words.size() != 3) {
    return resp::append_error(client.output, "ERR unknown command '" + std::string(words[0]) + "'");
  }
  if (words[2] == service_) return answer_about_service(connection, client, words[1]);
  if (is_word(words[1], "get-master-addr-by-name")) return resp::append_nil_array(client.output);
  resp::append_error(client.output, "ERR No such master with that name");
}

void FakeSentinel::answer_about_service(Connection connection, FakeClient& client,
                                        std::string_view question) {
  std::string& out = client.output;
  Said& said = said_[connection];
  const std::string port = std::to_string(knowledge_.primary);
  if (is_word(question, "get-master-addr-by-name")) {
    append_array(out, 2);
    append_bulk(out, host);
    return append_bulk(out, port);
  }
  if (is_word(question, "master")) {
    said.epoch = knowledge_.epoch;
    return append_fields(out, {{"name", service_},
                               {"ip", std::string(host)},
                               {"port", port},
                               {"config-epoch", std::to_string(knowledge_.epoch)}});
  }
  append_array(out, others_.size());
  for (const std::uint16_t other : others_) {
    append_fields(out, {{"ip", std::string(host)}, {"port", std::to_string(other)}});
  }
  // A client asks for them last.
  said.answers.emplace_back(said.taken + out.size(), said.epoch);
}

std::string FakeSentinel::take_output(Connection connection) {
  std::string bytes = sessions_.take_output(connection);
  said_[connection].taken += bytes.size();
  show_bytes(port_, "<-", connection, bytes);
  return bytes;
}

void FakeSentinel::disconnect(Connection connection) {
  sessions_.disconnect(connection);
  said_.erase(connection);
}

void FakeSentinel::arrived(Connection connection, std::uint64_t bytes, int process) {
  const auto said = said_.find(connection);
  if (said == said_.end()) return;
  auto& answers = said->second.answers;
  for (; !answers.empty() && answers.front().first <= bytes; answers.pop_front()) {
    on_told_(process, answers.front().second);
  }
}

}  // namespace redlatch::test
