#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/backoff.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/durability.hpp>
#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/io_error.hpp"
#include "net/reply_reader.hpp"
#include "net/sentinel_view.hpp"
#include "require.hpp"

// Whatever a server sends, in whatever pieces, the reader gives out the same replies and then waits
// or throws IoError; and every reply can be read by everything that reads replies.

namespace redlatch::protocol {

static bool operator==(const Reply& a, const Reply& b) {
  return a.kind == b.kind && a.integer == b.integer && a.text == b.text && a.elements == b.elements;
}

}  // namespace redlatch::protocol

namespace {

using redlatch::detail::IoError;
using redlatch::detail::ReplyReader;
using redlatch::protocol::Expect;
using redlatch::protocol::Reply;
using redlatch::protocol::Vote;

struct Reading {
  std::vector<Reply> replies{};
  bool failed = false;
  bool empty = false;
};

/// Reads the bytes in pieces as long as `lengths` say, over and over.
Reading read(std::string_view bytes, std::string_view lengths) {
  Reading reading;
  ReplyReader reader;
  try {
    for (std::size_t i = 0; !bytes.empty(); ++i) {
      const std::size_t length =
          lengths.empty() ? bytes.size()
                          : static_cast<unsigned char>(lengths[i % lengths.size()]) % 16U;
      const std::string_view piece = bytes.substr(0, std::max<std::size_t>(length, 1));
      reader.feed(piece);
      bytes.remove_prefix(piece.size());
      while (std::optional<Reply> reply = reader.next()) {
        reading.replies.push_back(*std::move(reply));
      }
    }
    reading.empty = reader.empty();
    if (reading.empty) {
      reader.feed("+OK\r\n");
      const std::optional<Reply> next = reader.next();
      require(next && next->is_ok(), "behind a reply that is whole, the next one can be read");
    }
  } catch (const IoError& error) {
    require(error.code() == redlatch::Errc::protocol_error ||
                (error.code() == redlatch::Errc::unreachable && reading.replies.empty()),
            "the error is protocol_error, or the first reply an alert of TLS");
    reading.failed = true;
  }
  return reading;
}

void check_error(const Reply& reply) {
  using namespace redlatch::protocol;
  const std::string_view shown = without_arguments(reply.text);
  require(reply.text.starts_with(shown), "what is shown is the front of what was said");
  require(shown.find(", with args beginning with") == std::string_view::npos,
          "no argument is shown");
  const redlatch::Error error = to_error(reply, "job", "redis://host:6379/0", false);
  require(error.code() == classify(reply.text), "the error is of the reply's class");
  require(classify(shown) == classify(reply.text), "arguments do not change the class");
  require(refuses_command(shown) == refuses_command(reply.text) &&
              leaves_script_in_doubt(shown) == leaves_script_in_doubt(reply.text),
          "nor what is concluded from it");
  // An odd error that was found to be a refusal may have come from a proxy, behind the script.
  const bool was_odd = reply.text.starts_with("REFUSED");  // the first word of `as_refusal`
  if (refuses_command(reply.text) && !was_odd) {
    require(!leaves_script_in_doubt(reply.text), "what the server refused is not in doubt");
  }
}

void check_numbers(const Reply& reply) {
  using namespace redlatch::protocol;
  if (const auto life = life_in(&reply)) {
    require(*life >= std::chrono::milliseconds::zero() && *life <= max_life, "a life is bounded");
    redlatch::detail::Backoff backoff;
    const auto pause = backoff.next(*life);
    require(pause >= pause.zero() && pause <= redlatch::detail::Backoff::max_pause,
            "no pause is longer than the longest");
    require(backoff.just_past(*life) >= *life, "a life that is waited out does not overflow");
  }
  require(uptime_in(reply) >= std::chrono::seconds::zero() && uptime_in(reply) <= max_life,
          "an uptime is bounded");
  if (reply.kind == Reply::Kind::integer) {
    const auto place = static_cast<std::int64_t>(status(reply));
    require(place >= -1 && place <= 5, "a status in the queue is one of those that are known");
    require(expiry(reply) >= 0, "an expiry is no negative number");
    const Replicas two(2);
    require(two.has_it(reply) == (reply.integer >= 2), "two replicas are at least two");
    require(!two.lack(reply).empty(), "what is lacking can be said");
  }
  require(!Disk::has_it(reply) || !reply.elements.empty(), "nothing is no disk");
}

/// What a Sentinel says: an address that can be used, or an error of the protocol.
void check_sentinel(const Reply& reply) {
  using namespace redlatch::detail;
  const auto is_good = [](const redlatch::Address& address) {
    require(!address.host.empty() && address.host.size() <= 255 && address.port != 0,
            "an address can be used");
  };
  const auto attempt = [](auto read) {
    try {
      read();
    } catch (const IoError& error) {
      require(error.code() == redlatch::Errc::protocol_error, "the error is protocol_error");
    }
  };
  attempt([&] {
    if (const auto primary = read_primary(reply)) is_good(*primary);
  });
  attempt([&] {
    const auto sentinels = read_sentinels(reply);
    require(sentinels.size() <= 64, "the number of Sentinels is bounded");
    for (const redlatch::Address& one : sentinels) is_good(one);
  });
  attempt([&] { require(read_services(reply).size() <= 64, "the number of services is bounded"); });
  attempt([&] { static_cast<void>(read_epoch(reply)); });
  static_cast<void>(is_about("orders", reply.text));
}

void check(const Reply& reply) {
  using namespace redlatch::protocol;
  check_numbers(reply);
  check_sentinel(reply);
  require((vote(reply) == Vote::refused) == reply.is_error(), "errors, and only they, refuse");
  if (reply.is_error()) check_error(reply);
  for (const Expect expect : {Expect::ok_or_nil, Expect::integer, Expect::status,
                              Expect::text_or_nil, Expect::array_or_nil}) {
    if (answers(expect, reply)) {
      require(answers(Expect::anything, reply), "anything may answer anything");
    }
  }
  const Abilities abilities = read_abilities(reply);
  require(!abilities.scripts, "nothing brings scripts back");
  require(abilities.set_ifeq == (abilities.delex || abilities.delifeq),
          "the abilities go together");
  if (Exclusive::holds(reply, reply.text)) {
    require(reply.kind == Reply::Kind::string, "only a string holds a token");
  }
  static_cast<void>(Exclusive::is_lock(reply));
  for (const Reply& element : reply.elements) check(element);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The first byte says how many of the next ones are lengths of pieces.
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const std::size_t count = static_cast<unsigned char>(input.front()) % 8U;
  input.remove_prefix(1);
  const std::string_view lengths = input.substr(0, count);
  const std::string_view bytes = input.substr(lengths.size());

  const Reading whole = read(bytes, {});
  const Reading pieces = read(bytes, lengths.empty() ? std::string_view("\x01") : lengths);
  require(whole.replies == pieces.replies, "pieces give the same replies");
  require(whole.failed == pieces.failed, "pieces fail where the whole fails");
  require(whole.empty == pieces.empty, "pieces leave as little behind");
  for (const Reply& reply : whole.replies) check(reply);
  return 0;
}
