// How connections are made and set up, and what happens where a peer does not read.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"
#include "sleeps.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace connecting_test {

/// A Unix socket whose queue of connections is full. It answers one client, to PING.
class CrowdedSocket {
 public:
  CrowdedSocket() {
    address_.sun_family = AF_UNIX;
    path_.copy(address_.sun_path, sizeof address_.sun_path - 1);
    if (::bind(listener_, get(), sizeof address_) != 0 || ::listen(listener_, 1) != 0) {
      throw std::system_error(errno, std::generic_category(), "listener");
    }
    int error = 0;
    while (error != EAGAIN) {
      others_.push_back(new_socket());
      error = ::connect(others_.back(), get(), sizeof address_) == 0 ? 0 : errno;
    }
  }
  CrowdedSocket(const CrowdedSocket&) = delete;
  CrowdedSocket& operator=(const CrowdedSocket&) = delete;
  ~CrowdedSocket() {
    for (const int fd : others_) ::close(fd);
    ::close(listener_);
  }

  std::string url() const { return "unix://" + path_; }

  /// Turns the others away, and serves a client whose greeting is one question.
  void serve_one() {
    for (std::size_t i = 1; i < others_.size(); ++i) ::close(::accept(listener_, nullptr, nullptr));
    const int client = ::accept(listener_, nullptr, nullptr);
    std::array<char, 1024> room{};
    for (const std::string_view answer : {"*0\r\n", "+PONG\r\n"}) {
      EXPECT_GT(::recv(client, room.data(), room.size(), 0), 0);
      EXPECT_GT(::send(client, answer.data(), answer.size(), MSG_NOSIGNAL), 0);
    }
    ::close(client);
  }

 private:
  static int new_socket() {
    return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }

  const TemporaryDirectory directory_{};
  const std::string path_ = directory_.path() + "/crowded";
  const int listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address_{};
  std::vector<int> others_{};
};

ClientOptions one_question(std::chrono::milliseconds connect_timeout) {
  return {.connect_timeout = connect_timeout, .command_timeout = 20s, .scripting = false};
}

TEST(ClientUnixSocket, IsWaitedForWhileItsQueueIsFull) {
  CrowdedSocket server;
  Client client(server.url(), one_question(20s));
  std::atomic<pid_t> thread = 0;
  std::error_code error;
  std::jthread waiting([&] {
    thread = ::gettid();
    error = error_of([&] { client.ping(); });
    thread = -1;
  });
  ASSERT_TRUE(eventually([&] { return thread > 0 && sleeps(thread); }));
  server.serve_one();
  waiting.join();
  EXPECT_EQ(error, std::error_code());
}

TEST(ClientUnixSocket, IsUnreachableWhenItsQueueStaysFull) {
  const CrowdedSocket server;
  Client client(server.url(), one_question(200ms));
  const auto took = duration_of([&] {
    const Error error = thrown_by([&] { client.ping(); });
    EXPECT_EQ(error.code(), Errc::unreachable);
    EXPECT_NE(std::string(error.what()).find("too many others"), std::string::npos) << error.what();
  });
  EXPECT_GE(took, 200ms);
  EXPECT_LT(took, 10s);
}

/// A TCP option of each connection of this process to that port.
std::vector<int> options_of_connections(std::uint16_t port, int level, int name) {
  std::vector<int> values;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != port) continue;
    int value = -1;
    size = sizeof value;
    ::getsockopt(fd, level, name, &value, &size);
    values.push_back(value);
  }
  return values;
}

class ClientTcpConnection : public testing::Test {
 protected:
  std::vector<int> options_of(std::chrono::milliseconds command_timeout, int level, int name) {
    Client client(server.url(), {.connect_timeout = 20s, .command_timeout = command_timeout});
    client.ping();
    return options_of_connections(server.port(), level, name);
  }

  RedisServer server{};
};

TEST_F(ClientTcpConnection, IsKeptAlive) {
  EXPECT_EQ(options_of(2s, SOL_SOCKET, SO_KEEPALIVE), std::vector{1});
  EXPECT_EQ(options_of(2s, IPPROTO_TCP, TCP_KEEPIDLE), std::vector{15});
  EXPECT_EQ(options_of(2s, IPPROTO_TCP, TCP_KEEPINTVL), std::vector{5});
  EXPECT_EQ(options_of(2s, IPPROTO_TCP, TCP_KEEPCNT), std::vector{3});
}

TEST_F(ClientTcpConnection, IsEndedByTheSystemWhenPacketsGetLost) {
  EXPECT_EQ(options_of(20s, IPPROTO_TCP, TCP_USER_TIMEOUT), std::vector{40'000});
  EXPECT_EQ(options_of(500ms, IPPROTO_TCP, TCP_USER_TIMEOUT), std::vector{5'000});
  EXPECT_EQ(options_of(24h, IPPROTO_TCP, TCP_USER_TIMEOUT), std::vector{172'800'000});
}

/// Reads nothing while an answer of it is not taken. Requests and answers are larger than all
/// buffers in between.
TEST(ClientOfAPeerThatStopsReading, IsReadFromWhileItIsWrittenTo) {
  constexpr int threads = 8;
  const TemporaryDirectory directory;
  const std::string large(200'000, 'x');
  std::array<std::atomic<pid_t>, threads> ids{};
  std::atomic<bool> first = true;
  const auto all_wait = [&] {
    for (const auto& id : ids) {
      if (id == 0 || !sleeps(id)) return false;
    }
    return true;
  };
  ScriptedServer server(
      [&](const ScriptedRequest& request) {
        if (!request.is("SET")) return resp::ok;
        // All others are said in one batch behind the first.
        if (first.exchange(false)) {
          EXPECT_TRUE(eventually(all_wait));
        }
        return resp::error("ERR " + large);
      },
      directory.path() + "/socket");
  ClientOptions options = patient();
  options.connections = 1;
  Client client(server.url(), options);
  client.ping();
  std::array<std::error_code, threads> errors{};
  std::vector<std::jthread> callers;
  for (std::size_t i = 0; i < threads; ++i) {
    callers.emplace_back([&, i] {
      ids[i] = ::gettid();
      errors[i] = error_of([&] { const Lock never(client, std::to_string(i) + large); });
    });
  }
  callers.clear();
  for (const std::error_code& error : errors) EXPECT_EQ(error, Errc::protocol_error);
}

/// Whether a server that says so has run for an hour.
bool is_an_hour(const std::string& uptime) {
  const ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("INFO")) return resp::bulk("# Server\r\nuptime_in_seconds:" + uptime + "\r\n");
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  Quorum one({server.url()}, {.client = patient(), .server_timeout = 10s, .min_uptime = 1h});
  const std::error_code error =
      error_of([&] { static_cast<void>(Redlock(one, "job", std::try_to_lock)); });
  EXPECT_TRUE(!error || error == Errc::not_writable) << error;
  return !error;
}

TEST(QuorumUptime, MayBeAnyNumber) {
  EXPECT_TRUE(is_an_hour("3601"));
  EXPECT_TRUE(is_an_hour("9223372036854775807"));
  EXPECT_FALSE(is_an_hour("-9223372036854775808"));
  EXPECT_FALSE(is_an_hour("99999999999999999999"));
}

}  // namespace connecting_test
}  // namespace redlatch::test
