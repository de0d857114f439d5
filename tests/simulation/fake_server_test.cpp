#include "fake_server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/sha1.hpp>

#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "environment.hpp"
#include "given_clock.hpp"
#include "net/greeting.hpp"
#include "net/resp_stream.hpp"
#include "random_commands.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "scripts.hpp"

namespace redlatch::test::fake_server_test {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// Where both clocks begin: 13 digits, as today.
constexpr milliseconds begin{1'750'000'000'000};

/// The length of the first reply in RESP2; nothing if it is not complete.
std::optional<std::size_t> reply_length(std::string_view bytes) {
  const std::size_t line = bytes.find("\r\n");
  if (line == std::string_view::npos) return std::nullopt;
  const char kind = bytes.front();
  std::size_t length = line + 2;
  const std::int64_t number = integer_in(bytes.substr(1, line - 1)).value_or(0);
  if (kind == '$' && number >= 0) length += static_cast<std::size_t>(number) + 2;
  if (kind == '*') {
    for (std::int64_t i = 0; i < number; ++i) {
      const auto element = reply_length(bytes.substr(std::min(length, bytes.size())));
      if (!element) return std::nullopt;
      length += *element;
    }
  }
  return length <= bytes.size() ? std::optional(length) : std::nullopt;
}

/// The first reply as bytes, or all if there is none.
std::string_view first_reply(std::string_view bytes) {
  return bytes.substr(0, reply_length(bytes).value_or(bytes.size()));
}

/// A connection to a real server, as bytes.
class Wire {
 public:
  explicit Wire(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const auto* to = reinterpret_cast<const sockaddr*>(&address);
    if (socket_ < 0 || ::connect(socket_, to, sizeof(address)) != 0) fail("connect");
  }
  Wire(Wire&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), bytes_(std::move(other.bytes_)) {}
  Wire& operator=(Wire&& other) noexcept {
    std::swap(socket_, other.socket_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Wire() {
    if (socket_ >= 0) ::close(socket_);
  }

  void send(std::string_view bytes) {
    if (::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(bytes.size())) {
      fail("send");
    }
  }
  /// All that has come, once it is at least so many bytes, or the time for them is over.
  std::string take(std::size_t size) {
    while (bytes_.size() < size && receive(10s)) {
    }
    return std::exchange(bytes_, {});
  }
  std::string take_reply() {
    while (!reply_length(bytes_) && receive(10s)) {
    }
    return std::exchange(bytes_, {});
  }
  /// Whether the server closes the connection, within a time.
  bool ends() {
    while (receive(10s)) {
    }
    return has_ended_;
  }

 private:
  [[noreturn]] static void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  bool receive(milliseconds patience) {
    pollfd wanted{.fd = socket_, .events = POLLIN, .revents = 0};
    if (::poll(&wanted, 1, static_cast<int>(patience.count())) != 1) return false;
    std::array<char, 65536> buffer{};
    const ssize_t size = ::recv(socket_, buffer.data(), buffer.size(), 0);
    if (size <= 0) {
      has_ended_ = true;
      return false;
    }
    bytes_.append(buffer.data(), static_cast<std::size_t>(size));
    return true;
  }

  int socket_;
  std::string bytes_{};
  bool has_ended_ = false;
};

bool is_replica(RandomStep::Mode mode) {
  return mode == RandomStep::Mode::replica || mode == RandomStep::Mode::stale_replica;
}

/// A real server with a clock that stands still between commands, and does not remove expired keys
/// unless a command looks for them.
class RealServer {
 public:
  RealServer()
      : clock_(begin),
        server_([this] {
          const GivenClock::Preloaded preloaded(clock_, REDLATCH_GIVEN_CLOCK_PRELOAD);
          return RedisServer({"--enable-debug-command", "yes"});
        }()),
        control_(server_.socket()) {
    control_.command({"DEBUG", "SET-ACTIVE-EXPIRE", "0"});
  }

  GivenClock& clock() { return clock_; }
  std::string version() {
    const std::string text = control_.command({"INFO", "server"}).text;
    const std::size_t begins = text.find("redis_version:") + 14;
    return text.substr(begins, text.find('\r', begins) - begins);
  }
  Wire connect() {
    Wire wire(server_.socket());
    wire.send(in_resp({"CLIENT", "ID"}));
    if (!wire.take_reply().starts_with(':')) throw std::runtime_error("no connection");
    return wire;
  }
  /// As new, but for ids of clients.
  void reset() {
    set_mode(RandomStep::Mode::writable);
    control_.command({"CLIENT", "KILL", "TYPE", "normal"});
    control_.command({"CLIENT", "KILL", "TYPE", "pubsub"});
    control_.command({"FLUSHALL"});
    control_.command({"SCRIPT", "FLUSH"});
    clock_.set(begin);
  }
  void set_mode(RandomStep::Mode mode) {
    using Mode = RandomStep::Mode;
    if (is_replica(mode)) {
      control_.command({"REPLICAOF", "127.0.0.1", "1"});
    } else {
      control_.command({"REPLICAOF", "NO", "ONE"});
    }
    control_.command(
        {"CONFIG", "SET", "replica-serve-stale-data", mode == Mode::stale_replica ? "no" : "yes"});
    control_.command(
        {"CONFIG", "SET", "min-replicas-to-write", mode == Mode::without_replicas ? "1" : "0"});
    control_.command({"CONFIG", "SET", "maxmemory", mode == Mode::out_of_memory ? "1" : "0"});
    control_.command(
        {"ACL", "SETUSER", "default", mode == Mode::no_scripts ? "-@scripting" : "+@scripting"});
  }

 private:
  GivenClock clock_;
  RedisServer server_;
  RawClient control_;
};

/// The two servers, and as many connections to one as to the other.
class Pair {
 public:
  static constexpr std::size_t size = 6;

  Pair(RealServer& real, std::uint64_t seed) : real_(real) {
    real_.reset();
    for (std::size_t i = 0; i < size; ++i) wires_.push_back(real_.connect());
    wires_[0].send(in_resp({"CLIENT", "ID"}));
    const std::string id = wires_[0].take_reply();
    options_.first_client = static_cast<std::uint64_t>(std::stoull(id.substr(1)));
    fake_.emplace([this] { return real_.clock().now(); }, seed, options_);
    for (std::size_t i = 0; i < size; ++i) connections_.push_back(fake_->connect());
  }

  std::vector<std::uint64_t> ids() const {
    std::vector<std::uint64_t> all;
    for (const auto connection : connections_) all.push_back(fake_->client_id(connection));
    return all;
  }

  void pass(std::int64_t time) { real_.clock().set(real_.clock().now() + milliseconds(time)); }
  void set_mode(RandomStep::Mode mode) {
    using Mode = RandomStep::Mode;
    real_.set_mode(mode);
    // A server that becomes a replica makes a client of itself, which takes an id.
    if (is_replica(mode) && !is_replica(mode_)) fake_->disconnect(fake_->connect());
    mode_ = mode;
    using Role = FakeServer::Role;
    fake_->set_role(mode == Mode::replica         ? Role::replica
                    : mode == Mode::stale_replica ? Role::stale_replica
                                                  : Role::primary);
    fake_->set_write_refusal(
        mode == Mode::without_replicas ? "NOREPLICAS Not enough good replicas to write." : "");
    fake_->set_out_of_memory(mode == Mode::out_of_memory);
    fake_->set_allows_scripts(mode != Mode::no_scripts);
  }

  /// Sends the same to both, and compares what comes on any connection. Returns the first reply.
  std::string say(std::size_t connection, std::string_view bytes) {
    fake_->receive(connections_[connection], bytes);
    wires_[connection].send(bytes);
    std::string answer;
    for (std::size_t i = 0; i < size; ++i) {
      const std::string by_fake = fake_->take_output(connections_[i]);
      if (i == connection) answer = first_reply(by_fake);
      if (by_fake.empty() && i != connection) continue;
      if (i != connection) messages_ += by_fake;
      EXPECT_EQ(by_fake, wires_[i].take(by_fake.size())) << "on connection " << i;
    }
    return answer;
  }
  /// Connections that the fake has closed, which the other has to close as well.
  std::vector<std::size_t> renew_closed() {
    std::vector<std::size_t> renewed;
    for (std::size_t i = 0; i < size; ++i) {
      if (!fake_->is_closed(connections_[i])) continue;
      EXPECT_TRUE(wires_[i].ends()) << "connection " << i;
      fake_->disconnect(connections_[i]);
      wires_[i] = real_.connect();
      connections_[i] = fake_->connect();
      renewed.push_back(i);
    }
    return renewed;
  }
  /// That nothing comes which the fake has not said.
  void compare_end() {
    for (std::size_t i = 0; i < size; ++i) say(i, in_resp({"PING"}));
  }
  /// What came on other connections since the last call.
  std::string take_messages() { return std::exchange(messages_, {}); }

 private:
  RealServer& real_;
  FakeServerOptions options_{};
  std::optional<FakeServer> fake_{};
  std::string messages_{};
  RandomStep::Mode mode_ = RandomStep::Mode::writable;
  std::vector<Wire> wires_{};
  std::vector<FakeServer::Connection> connections_{};
};

/// The words of commands, in one line. Of long ones, such as scripts, the beginning.
std::string printed(std::string_view bytes) {
  constexpr std::size_t limit = 150;
  std::string text;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find("\r\n");
    const std::string_view line = bytes.substr(0, std::min(end, limit));
    const bool is_header = line.starts_with('*') || line.starts_with('$');
    if (!is_header) text.append(line).append(line.size() < end ? "... " : " ");
    bytes.remove_prefix(end + 2);
  }
  std::ranges::replace(text, '\n', ' ');
  return text;
}

/// The first two words of the first command or message.
std::vector<std::string> first_words(std::string_view bytes) {
  constexpr std::size_t limit = 2;
  const auto number = [&] {
    const std::size_t end = bytes.find("\r\n");
    const std::int64_t value = integer_in(bytes.substr(1, end - 1)).value_or(0);
    bytes.remove_prefix(end + 2);
    return static_cast<std::size_t>(value);
  };
  std::vector<std::string> words;
  for (std::size_t left = std::min(number(), limit); left > 0; --left) {
    const std::size_t size = number();
    words.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size + 2);
  }
  return words;
}

/// What the sequences have reached: commands, and scripts of the library, that were answered
/// without an error, and kinds of messages.
class Reached {
 public:
  void add_answer(std::string_view command, std::string_view answer) {
    if (answer.starts_with('-')) return;
    const std::vector<std::string> words = first_words(command);
    std::string name = lower(words[0]);
    if (name == "evalsha") name = words[1];
    if (name == "eval") name = protocol::Sha1(words[1]).digits();
    ++counts_[name];
  }
  void add_messages(std::string_view messages) {
    for (; !messages.empty(); messages.remove_prefix(*reply_length(messages))) {
      const std::vector<std::string> words = first_words(messages);
      ++counts_[words[0] + ' ' + words[1]];
    }
  }
  std::size_t count(std::string_view what) const {
    const auto found = counts_.find(what);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::map<std::string, std::size_t, std::less<>> counts_{};
};

/// A comparison proves nothing about what it does not reach.
void expect_all_reached(const Reached& reached) {
  for (const NamedScript& script : all_scripts) {
    EXPECT_GT(reached.count(script.script->sha1()), 0U) << script.name;
  }
  for (const char* command : {"set",     "get",     "getrange",    "incr",      "strlen",
                              "del",     "unlink",  "exists",      "type",      "pttl",
                              "ttl",     "persist", "pexpire",     "expire",    "pexpireat",
                              "dbsize",  "time",    "rpush",       "lpush",     "lpop",
                              "rpop",    "llen",    "lindex",      "lset",      "lrem",
                              "lrange",  "lpos",    "zadd",        "zrem",      "zcard",
                              "zscore",  "zrange",  "flushall",    "flushdb",   "zremrangebyscore",
                              "select",  "ping",    "quit",        "auth",      "command",
                              "client",  "multi",   "exec",        "discard",   "watch",
                              "unwatch", "publish", "spublish",    "subscribe", "pubsub",
                              "wait",    "script",  "unsubscribe", "psubscribe"}) {
    EXPECT_GT(reached.count(command), 0U) << command;
  }
  for (const char* message : {"message __redis__:invalidate", "message redlatch:one",
                              "smessage redlatch:shard:one", "pmessage redlatch:*"}) {
    EXPECT_GT(reached.count(message), 0U) << message;
  }
}

void compare_sequence(RealServer& real, std::uint64_t seed, unsigned length, Reached& reached) {
  Pair pair(real, seed);
  RandomCommands commands(seed, pair.ids());
  std::vector<std::string> said;
  for (unsigned i = 0; i < length && !::testing::Test::HasFailure(); ++i) {
    const RandomStep step = commands.next();
    if (step.kind == RandomStep::Kind::pass_time) {
      pair.pass(step.time);
      said.push_back("time " + std::to_string(step.time));
      continue;
    }
    if (step.kind == RandomStep::Kind::set_mode) {
      pair.set_mode(step.mode);
      said.push_back("mode " + std::to_string(static_cast<int>(step.mode)));
      continue;
    }
    said.push_back(std::to_string(step.connection) + ": " + printed(step.bytes));
    const std::string answer = pair.say(step.connection, step.bytes);
    commands.answered(answer);
    reached.add_answer(step.bytes, answer);
    reached.add_messages(pair.take_messages());
    for (const std::size_t connection : pair.renew_closed()) {
      commands.replaced(connection, pair.ids()[connection]);
    }
  }
  if (!::testing::Test::HasFailure()) pair.compare_end();
  if (!::testing::Test::HasFailure()) return;
  std::string all;
  for (const std::string& one : said) all += one + "\n";
  ADD_FAILURE() << "REDLATCH_SEED=" << seed << " REDLATCH_SEQUENCES=1, commands until then:\n"
                << all;
}

/// Beside a real server, which has to be of the version whose words the fake has: CMakeLists.txt
/// leaves these out beside another one.
class FakeServerBesideARealOne : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(real.version().starts_with("7.0.")) << real.version(); }

  RealServer real{};
};

// Each sequence begins with empty databases, and has a seed of its own, from REDLATCH_SEED on.
TEST_F(FakeServerBesideARealOne, AnswersRandomCommandsAlike) {
  constexpr unsigned default_sequences = 200;
  const std::uint64_t first = chosen("REDLATCH_SEED", 1);
  const std::uint64_t sequences = chosen("REDLATCH_SEQUENCES", default_sequences);
  Reached reached;
  for (std::uint64_t seed = first; seed < first + sequences && !HasFailure(); ++seed) {
    compare_sequence(real, seed, chosen("REDLATCH_COMMANDS", 60), reached);
  }
  if (sequences >= default_sequences) expect_all_reached(reached);
}

// Random commands seldom find a key that has expired and was not removed yet.
TEST_F(FakeServerBesideARealOne, JudgesWatchedKeysAlike) {
  Pair pair(real, 1);
  const auto say = [&](std::initializer_list<std::string_view> words, std::size_t connection = 2) {
    return pair.say(connection, in_resp(words));
  };
  const auto expire = [&] {
    say({"SET", "job", "mine", "PX", "20"});
    pair.pass(21);
  };
  const auto exec = [&] { return say({"MULTI"}), say({"EXEC"}); };
  constexpr std::string_view done = "*0\r\n";
  constexpr std::string_view touched = "*-1\r\n";

  say({"SET", "job", "mine", "PX", "20"});
  say({"WATCH", "job"});
  pair.pass(21);
  EXPECT_EQ(exec(), touched);

  expire();
  say({"WATCH", "job"});
  EXPECT_EQ(exec(), done);

  expire();
  say({"WATCH", "job"});
  say({"GET", "job"}, 3);  // removes it
  EXPECT_EQ(exec(), done);

  expire();
  say({"WATCH", "job"});
  say({"SET", "job", "theirs"}, 3);
  EXPECT_EQ(exec(), touched);

  expire();
  say({"WATCH", "job"});
  say({"FLUSHALL"}, 3);
  EXPECT_EQ(exec(), done);

  say({"SET", "job", "mine"});
  say({"WATCH", "job"});
  say({"FLUSHDB"}, 3);
  EXPECT_EQ(exec(), touched);

  for (const auto& change : std::vector<std::vector<std::string>>{{"LREM", "list", "0", "b"},
                                                                  {"LSET", "list", "0", "c"},
                                                                  {"LPOP", "list"},
                                                                  {"PEXPIRE", "list", "100"},
                                                                  {"PERSIST", "list"},
                                                                  {"RPUSH", "list", "d"},
                                                                  {"DEL", "list"}}) {
    say({"RPUSH", "list", "a", "b"});
    say({"WATCH", "list"});
    pair.say(3, in_resp(change));
    EXPECT_EQ(exec(), touched) << change.front();
  }
  pair.compare_end();
}

/// A fake with a clock that a test moves, and one connection to it.
class Lone {
 public:
  explicit Lone(FakeServerOptions options = {})
      : server([this] { return now; }, 7, std::move(options)), connection(server.connect()) {}

  std::string say(std::initializer_list<std::string_view> words) {
    server.receive(connection, in_resp(words));
    return server.take_output(connection);
  }

  milliseconds now = begin;
  FakeServer server;
  FakeServer::Connection connection;
};

TEST(FakeServer, KeepsAKeyInTheMillisecondOfItsExpiry) {
  Lone lone;
  lone.say({"SET", "job", "mine", "PX", "100"});
  lone.now += 100ms;
  EXPECT_EQ(lone.say({"PTTL", "job"}), ":0\r\n");
  EXPECT_EQ(lone.say({"GET", "job"}), "$4\r\nmine\r\n");
  EXPECT_EQ(lone.server.value("job"), "mine");
  EXPECT_EQ(lone.server.next_expiry(), lone.now + 1ms);
  lone.now += 1ms;
  EXPECT_EQ(lone.server.value("job"), std::nullopt);
  EXPECT_EQ(lone.say({"PTTL", "job"}), ":-2\r\n");
  EXPECT_EQ(lone.say({"GET", "job"}), "$-1\r\n");
}

TEST(FakeServer, RemovesExpiredKeysOnlyWhenTheyAreLookedForOrWhenItIsTold) {
  Lone lone;
  lone.say({"SET", "job", "mine", "PX", "100"});
  lone.now += 101ms;
  EXPECT_EQ(lone.say({"DBSIZE"}), ":1\r\n");
  EXPECT_TRUE(lone.server.keys().empty());
  lone.server.remove_expired();
  EXPECT_EQ(lone.say({"DBSIZE"}), ":0\r\n");
}

TEST(FakeServer, TellsATrackerWhenAnExpiredKeyIsRemoved) {
  Lone lone;
  const auto listener = lone.server.connect();
  lone.server.receive(listener, in_resp({"SUBSCRIBE", "__redis__:invalidate"}));
  lone.server.take_output(listener);
  lone.say({"SET", "job", "mine", "PX", "100"});
  lone.say({"CLIENT", "TRACKING", "ON", "REDIRECT", "2", "OPTIN"});
  lone.say({"CLIENT", "CACHING", "YES"});
  lone.say({"PTTL", "job"});
  lone.now += 101ms;
  EXPECT_TRUE(lone.server.with_output().empty());
  lone.server.remove_expired();
  EXPECT_EQ(lone.server.with_output(), std::vector{listener});
  EXPECT_EQ(lone.server.take_output(listener),
            "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$3\r\njob\r\n");
}

TEST(FakeServer, LetsNoTimePassInAScript) {
  Lone lone;
  lone.say({"SET", "job", "mine", "PX", "100"});
  const std::string times =
      lone.say({"EVAL", "return {redis.call('TIME'), redis.call('TIME')}", "0"});
  EXPECT_EQ(times,
            "*2\r\n*2\r\n$10\r\n1750000000\r\n$1\r\n0\r\n*2\r\n$10\r\n1750000000\r\n$1\r\n0\r\n");
}

TEST(FakeServer, TakesCommandsInAnyPieces) {
  Lone lone;
  const std::string bytes = in_resp({"SET", "job", "a\r\nb"}) + in_resp({"GET", "job"});
  for (const char byte : bytes) lone.server.receive(lone.connection, {&byte, 1});
  EXPECT_EQ(lone.server.take_output(lone.connection), "+OK\r\n$4\r\na\r\nb\r\n");
}

TEST(FakeServer, ForgetsScriptsClientsAndDataWithARestart) {
  Lone lone;
  const std::string run_id = lone.server.run_id();
  lone.say({"SET", "job", "mine"});
  lone.say({"SCRIPT", "LOAD", "return 1"});
  lone.server.restart(true);
  EXPECT_TRUE(lone.server.is_closed(lone.connection));
  EXPECT_NE(lone.server.run_id(), run_id);
  lone.connection = lone.server.connect();
  EXPECT_EQ(lone.say({"CLIENT", "ID"}), ":1\r\n");
  EXPECT_EQ(lone.say({"SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"}),
            "*1\r\n:0\r\n");
  EXPECT_EQ(lone.server.value("job"), "mine");
  lone.server.restart(false);
  EXPECT_FALSE(lone.server.exists("job"));
}

TEST(FakeServer, TellsItsUptimeAndRunId) {
  Lone lone;
  lone.now += 61'500ms;
  const std::string text = lone.say({"INFO", "server"});
  EXPECT_EQ(protocol::uptime_in({.kind = protocol::Reply::Kind::string, .text = text}), 61s);
  EXPECT_NE(text.find("\r\nrun_id:" + lone.server.run_id() + "\r\n"), std::string::npos);
  EXPECT_EQ(lone.server.run_id().size(), 40U);
}

/// Sends the library's first commands on a new connection, and has it read the answers.
void log_in(Lone& lone, const detail::Settings& settings, const Credentials& credentials) {
  lone.connection = lone.server.connect();
  detail::RespStream stream;
  detail::Greeting greeting(settings, credentials, detail::Greeting::Scope::whole);
  greeting.append_to(stream);
  lone.server.receive(lone.connection, stream.output());
  stream.received(lone.server.take_output(lone.connection));
  EXPECT_TRUE(greeting.receive_available(stream));
}

Errc refusal_of_log_in(Lone& lone, const detail::Settings& settings,
                       const Credentials& credentials) {
  try {
    log_in(lone, settings, credentials);
  } catch (const detail::IoError& error) {
    return error.code();
  }
  ADD_FAILURE() << "the library is content";
  return Errc::unreachable;
}

TEST(FakeServer, LetsTheLibraryLogIn) {
  Lone lone({.password = "secret"});
  const Credentials credentials{.user = "default", .password = "secret"};
  std::string id;
  const detail::Settings settings{.endpoint = {.database = 3},
                                  .options = {.client_name = "worker"},
                                  .server = "fake",
                                  .role = {.must_be_primary = true,
                                           .only_scripts = true,
                                           .min_uptime = 10s,
                                           .admit = [&](std::string_view seen) { id = seen; }}};
  lone.now += 20s;
  log_in(lone, settings, credentials);
  EXPECT_EQ(id, lone.server.run_id());
  EXPECT_EQ(lone.say({"CLIENT", "GETNAME"}), "$6\r\nworker\r\n");
  lone.say({"SET", "job", "mine"});
  EXPECT_TRUE(lone.server.exists("job", 3));

  EXPECT_EQ(refusal_of_log_in(lone, settings, {.user = "default", .password = "wrong"}),
            Errc::authentication_failed);
  lone.server.set_role(FakeServer::Role::replica);
  EXPECT_EQ(refusal_of_log_in(lone, settings, credentials), Errc::not_writable);
  lone.server.set_role(FakeServer::Role::primary);
  lone.server.restart(true);
  EXPECT_EQ(refusal_of_log_in(lone, settings, credentials), Errc::not_writable) << "too young";
}

TEST(FakeServer, HasTheSameRunIdForTheSameSeed) {
  const auto clock = [] { return begin; };
  EXPECT_EQ(FakeServer(clock, 3).run_id(), FakeServer(clock, 3).run_id());
  EXPECT_NE(FakeServer(clock, 3).run_id(), FakeServer(clock, 4).run_id());
}

TEST(FakeServer, RefusesAllButTheLogInWithoutOne) {
  Lone lone({.password = "secret"});
  EXPECT_EQ(lone.say({"GET", "job"}), "-NOAUTH Authentication required.\r\n");
  EXPECT_EQ(lone.say({"AUTH", "wrong"}),
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  EXPECT_EQ(lone.say({"AUTH", "default", "secret"}), "+OK\r\n");
  EXPECT_EQ(lone.say({"GET", "job"}), "$-1\r\n");
}

TEST(FakeServer, AnswersLoadingToWhatTouchesData) {
  Lone lone;
  lone.server.set_loading(true);
  EXPECT_EQ(lone.say({"GET", "job"}), "-LOADING Redis is loading the dataset in memory\r\n");
  EXPECT_EQ(lone.say({"EVAL", "return 1", "0"}),
            "-LOADING Redis is loading the dataset in memory\r\n");
  EXPECT_EQ(lone.say({"CLIENT", "ID"}), ":1\r\n");
  lone.server.set_loading(false);
  EXPECT_EQ(lone.say({"GET", "job"}), "$-1\r\n");
}

TEST(FakeServer, AnswersBusyToAllButTransactionsAndTheLogIn) {
  Lone lone;
  lone.server.set_busy(true);
  EXPECT_TRUE(lone.say({"GET", "job"}).starts_with("-BUSY "));
  EXPECT_TRUE(lone.say({"EVAL", "return 1", "0"}).starts_with("-BUSY "));
  EXPECT_EQ(lone.say({"WATCH", "job"}), "+OK\r\n");
  EXPECT_TRUE(lone.say({"EXEC"}).starts_with("-EXECABORT "));
}

TEST(FakeServer, RefusesClientsBeyondItsLimit) {
  Lone lone({.max_clients = 1});
  const auto second = lone.server.connect();
  EXPECT_TRUE(lone.server.is_closed(second));
  EXPECT_EQ(lone.server.take_output(second), "-ERR max number of clients reached\r\n");
  lone.server.disconnect(lone.connection);
  EXPECT_FALSE(lone.server.is_closed(lone.server.connect()));
}

TEST(FakeServer, AnswersTheReplicasThatItWasGiven) {
  Lone lone;
  lone.server.set_replicas(2);
  EXPECT_EQ(lone.say({"WAIT", "3", "100"}), ":2\r\n");
  EXPECT_TRUE(lone.say({"WAITAOF", "1", "0", "100"}).starts_with("-ERR unknown command"));
  lone.server.set_on_disk(1);
  EXPECT_EQ(lone.say({"WAITAOF", "1", "0", "100"}), "*2\r\n:1\r\n:2\r\n");
}

/// Replicas that confirm writes when a test says so.
class GivenReplicas final : public FakeReplicas {
 public:
  std::uint64_t write(Changes changes) override {
    written.push_back(std::move(changes));
    return written.size();
  }
  int confirmed(std::uint64_t writes) const override { return writes <= confirmed_writes ? 2 : 0; }
  void wait(milliseconds time) override { waits.push_back(time); }

  std::vector<Changes> written{};
  std::uint64_t confirmed_writes = 0;
  std::vector<milliseconds> waits{};
};

TEST(FakeServer, HasReplicasApplyWhatItsCommandsChange) {
  Lone lone;
  Lone replica;
  GivenReplicas replicas;
  lone.server.set_replicas(&replicas);
  replica.server.set_role(FakeServer::Role::replica);
  lone.say({"SET", "job", "mine", "PX", "100"});
  lone.say({"EVAL", "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[2], 'x') return 1", "2",
            "job", "other"});
  lone.say({"GET", "job"});
  ASSERT_EQ(replicas.written.size(), 2U);
  replica.server.apply(replicas.written[0]);
  EXPECT_EQ(replica.server.value("job"), "mine");
  EXPECT_EQ(replica.say({"PTTL", "job"}), ":100\r\n");
  replica.server.apply(replicas.written[1]);
  EXPECT_EQ(replica.server.keys(), (std::vector<FakeServer::Key>{{0, "other"}}));
  lone.say({"FLUSHALL"});
  replica.server.apply(replicas.written[2]);
  EXPECT_TRUE(replica.server.keys().empty());
}

TEST(FakeServer, AnswersAWaitWhenReplicasHaveConfirmedOrItsTimeIsOver) {
  Lone lone;
  GivenReplicas replicas;
  lone.server.set_replicas(&replicas);
  lone.say({"SET", "job", "mine"});
  EXPECT_EQ(lone.say({"WAIT", "2", "100"}), "");
  EXPECT_EQ(lone.say({"GET", "job"}), "") << "commands behind it wait, too";
  EXPECT_EQ(replicas.waits, std::vector{100ms});
  lone.server.answer_waits();
  EXPECT_TRUE(lone.server.with_output().empty());
  replicas.confirmed_writes = 1;
  lone.server.answer_waits();
  EXPECT_EQ(lone.server.take_output(lone.connection), ":2\r\n$4\r\nmine\r\n");
  EXPECT_EQ(lone.say({"WAIT", "2", "100"}), ":2\r\n");
  lone.say({"SET", "job", "theirs"});
  EXPECT_EQ(lone.say({"WAIT", "1", "100"}), "");
  lone.now += 100ms;
  lone.server.answer_waits();
  EXPECT_EQ(lone.server.take_output(lone.connection), ":0\r\n");
}

TEST(FakeServer, ClosesAllClientsBehindWhatTheyAreSent) {
  Lone lone;
  lone.server.receive(lone.connection, in_resp({"PING"}));
  lone.server.close_clients();
  EXPECT_TRUE(lone.server.is_closed(lone.connection));
  EXPECT_EQ(lone.server.take_output(lone.connection), "+PONG\r\n");
}

TEST(FakeServer, CopiesTheDataOfAnother) {
  Lone lone;
  Lone other;
  other.say({"SELECT", "3"});
  other.say({"RPUSH", "queue", "one", "two"});
  lone.server.copy_data(other.server);
  EXPECT_EQ(lone.server.keys(), (std::vector<FakeServer::Key>{{3, "queue"}}));
}

TEST(FakeServer, KeepsScriptsFromChangingWhatOthersSee) {
  Lone lone;
  EXPECT_TRUE(lone.say({"EVAL", "redis.call = 1", "0"}).starts_with("-ERR"));
  EXPECT_TRUE(lone.say({"EVAL", "string.find = nil", "0"}).starts_with("-ERR"));
  EXPECT_TRUE(lone.say({"EVAL", "found = 1", "0"}).starts_with("-ERR"));
  EXPECT_EQ(lone.say({"EVAL", "KEYS[2] = 'x' return #KEYS", "1", "a"}), ":2\r\n");
  EXPECT_EQ(lone.say({"EVAL", "return #KEYS", "1", "a"}), ":1\r\n");
}

}  // namespace
}  // namespace redlatch::test::fake_server_test
