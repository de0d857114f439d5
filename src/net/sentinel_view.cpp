#include "net/sentinel_view.hpp"

#include <algorithm>
#include <utility>

#include "base/io_error.hpp"
#include "base/printable.hpp"
#include "net/told_address.hpp"

namespace redlatch::detail {
namespace {

using protocol::Reply;

constexpr std::size_t max_entries = 64;
[[noreturn]] void reject_answer(const char* what) {
  throw IoError(Errc::protocol_error,
                std::string("the Sentinel's answer cannot be understood: ") + what);
}

Address address_of(const std::string& host, std::string_view port) {
  if (!is_told_host(host)) reject_answer("a host name is none");
  const auto number = told_number(port, UINT16_MAX);
  if (!number) reject_answer("a number is none");
  if (*number == 0) reject_answer("a port is 0");
  return {host, static_cast<std::uint16_t>(*number)};
}

/// The value of a name in a list of names and values.
const std::string& field(const Reply& pairs, std::string_view name) {
  for (std::size_t i = 0; i + 1 < pairs.elements.size(); i += 2) {
    if (pairs.elements[i].text == name) return pairs.elements[i + 1].text;
  }
  reject_answer("a field is missing");
}

}  // namespace

std::optional<Address> read_primary(const Reply& reply) {
  if (reply.kind == Reply::Kind::nil) return std::nullopt;
  if (reply.elements.size() != 2) reject_answer("it is no address");
  return address_of(reply.elements[0].text, reply.elements[1].text);
}

std::uint64_t read_epoch(const Reply& reply) {
  const auto epoch = told_number(field(reply, "config-epoch"), UINT64_MAX);
  if (!epoch) reject_answer("a number is none");
  return *epoch;
}

/// Without those that have no address: a Sentinel that cannot resolve the name of another one says
/// that its address is empty.
std::vector<Address> read_sentinels(const Reply& reply) {
  std::vector<Address> sentinels;
  for (const Reply& one : reply.elements) {
    if (sentinels.size() == max_entries) break;
    const std::string& host = field(one, "ip");
    if (!host.empty()) sentinels.push_back(address_of(host, field(one, "port")));
  }
  return sentinels;
}

std::vector<std::string> read_services(const Reply& reply) {
  std::vector<std::string> services;
  for (const Reply& one : reply.elements) {
    if (services.size() == max_entries) break;
    const std::string& name = field(one, "name");
    if (is_printable(name)) services.push_back(name.substr(0, max_host_size));
  }
  return services;
}

/// "orders OLD PORT NEW PORT", or "slave NAME NEW PORT @ orders OLD PORT".
std::optional<Address> read_promoted(std::string_view message) {
  std::vector<std::string> words(1);
  for (const char c : message) c == ' ' ? words.emplace_back() : words.back() += c;
  const bool is_promotion = words.size() == 8 && words[4] == "@";
  if (!is_promotion && words.size() != 5) return std::nullopt;
  const std::size_t at = is_promotion ? 2 : 3;
  const auto port = told_number(words[at + 1], UINT16_MAX);
  if (!is_told_host(words[at]) || !port) return std::nullopt;
  return Address{words[at], static_cast<std::uint16_t>(*port)};
}

bool is_about(std::string_view service, std::string_view message) noexcept {
  while (!message.empty()) {
    const std::size_t end = std::min(message.find(' '), message.size());
    if (message.substr(0, end) == service) return true;
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  return false;
}

SentinelView::SentinelView(const std::vector<Address>& named) {
  for (const Address& one : named) sentinels_.push_back({.address = one, .is_named = true});
}

void SentinelView::take(const Address& sentinel, SentinelAnswer answer, TimePoint begun,
                        TimePoint now) {
  Sentinel* const one = find(sentinel);
  if (one == nullptr) return;  // it has left the service meanwhile
  if (one->answer && begun < one->begun && answer.epoch <= one->answer->epoch) return;
  const bool is_news =
      !one->answer || one->answer->primary != answer.primary || one->answer->epoch != answer.epoch;
  if (is_news) one->named = now;
  one->answer = std::move(answer);
  one->begun = std::max(one->begun, begun);
  one->failing_since.reset();
  learn();
  decide();
}

void SentinelView::note_failure(const Address& sentinel, TimePoint now) {
  Sentinel* const one = find(sentinel);
  if (one == nullptr || !one->answer) return;
  if (!one->failing_since) one->failing_since = now;
  if (now - *one->failing_since < memory) return;
  one->answer.reset();
  learn();
  decide();
}

std::vector<Address> SentinelView::sentinels() const {
  std::vector<Address> all;
  for (const Sentinel& one : sentinels_) all.push_back(one.address);
  return all;
}

SentinelView::Sentinel* SentinelView::find(const Address& sentinel) noexcept {
  const auto at = std::find_if(sentinels_.begin(), sentinels_.end(),
                               [&](const Sentinel& one) { return one.address == sentinel; });
  return at == sentinels_.end() ? nullptr : &*at;
}

/// Keeps the Sentinels of the URL, and those that another one knows.
void SentinelView::learn() {
  std::vector<Address> known;
  for (const Sentinel& one : sentinels_) {
    if (one.answer) known.insert(known.end(), one.answer->others.begin(), one.answer->others.end());
  }
  std::erase_if(sentinels_, [&](const Sentinel& one) {
    return !one.is_named && std::find(known.begin(), known.end(), one.address) == known.end();
  });
  for (const Address& one : known) {
    const auto learned = std::count_if(sentinels_.begin(), sentinels_.end(),
                                       [](const Sentinel& each) { return !each.is_named; });
    if (static_cast<std::size_t>(learned) >= max_learned) return;
    if (find(one) == nullptr) sentinels_.push_back({.address = one, .is_named = false});
  }
}

/// The newest configuration wins; of equal ones, the last news. A Sentinel that repeats itself has
/// none: Sentinels may have different names for one server, and each answer in turn would make the
/// connections obsolete. Without any answer that names a primary, the last primary stays.
void SentinelView::decide() {
  const Sentinel* best = nullptr;
  for (const Sentinel& one : sentinels_) {
    if (!one.answer || !one.answer->primary) continue;
    const bool is_better = best == nullptr || one.answer->epoch > best->answer->epoch ||
                           (one.answer->epoch == best->answer->epoch && one.named > best->named);
    if (is_better) best = &one;
  }
  if (best == nullptr) return;
  primary_ = best->answer->primary;
  told_primary_ = best->answer->told;
}

}  // namespace redlatch::detail
