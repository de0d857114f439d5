#include "net/tls.hpp"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <redlatch/error.hpp>
#include <redlatch/options.hpp>

#include "base/fork_aware.hpp"
#include "base/io_error.hpp"
#include "certificates.hpp"
#include "child.hpp"
#include "eventually.hpp"
#include "net/tls_transport.hpp"
#include "sleeps.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test::tls_test {
namespace {

using detail::IoError;
using detail::TlsContext;
using detail::TlsSession;

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* connection) const { SSL_free(connection); }
};

/// Certificates of all kinds, made once: a key costs a millisecond.
struct Files {
  TemporaryDirectory directory{};
  CertificateAuthority issuer{directory.path(), "issuer"};
  CertificateAuthority other{directory.path(), "other"};
  CertificateFiles good = issuer.issue({.name = "good"});
  CertificateFiles of_other = other.issue({.name = "of_other"});
  CertificateFiles expired = issuer.issue(
      {.name = "expired", .from = std::chrono::hours(-5), .until = std::chrono::hours(-1)});
  CertificateFiles early = issuer.issue({.name = "early", .from = std::chrono::hours(1)});
};

const Files& files() {
  static const Files files;
  return files;
}

TlsOptions trusting() { return {.ca_file = files().issuer.file()}; }

/// A server without a socket.
class Server {
 public:
  explicit Server(const CertificateFiles& own, const std::function<void(SSL_CTX*)>& set_up = {})
      : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate_chain_file(context_.get(), own.certificate.c_str());
    SSL_CTX_use_PrivateKey_file(context_.get(), own.key.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_set_session_id_context(context_.get(), reinterpret_cast<const unsigned char*>("t"), 1);
    if (set_up) set_up(context_.get());
    accept();
  }

  /// For another connection.
  void accept() {
    connection_.reset(SSL_new(context_.get()));
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(connection_.get(), in_, out_);
    SSL_set_accept_state(connection_.get());
  }

  /// Takes bytes of the client and gives its own.
  std::string exchange(std::string_view bytes) {
    if (!bytes.empty()) BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
    std::array<char, 4096> room{};
    int count = 0;
    ERR_clear_error();
    while ((count = SSL_read(connection_.get(), room.data(), room.size())) > 0) {
      read_.append(room.data(), static_cast<std::size_t>(count));
    }
    return take();
  }
  std::string say(std::string_view text) {
    SSL_write(connection_.get(), text.data(), static_cast<int>(text.size()));
    return take();
  }
  /// The next bytes of `say` follow a request that both ends use new keys.
  void update_keys() { SSL_key_update(connection_.get(), SSL_KEY_UPDATE_REQUESTED); }
  std::string close() {
    SSL_shutdown(connection_.get());
    return take();
  }
  const std::string& read() const { return read_; }
  bool is_resumed() const { return SSL_session_reused(connection_.get()) == 1; }

 private:
  std::string take() {
    std::string bytes(BIO_ctrl_pending(out_), '\0');
    if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }

  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> connection_{};
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
  std::string read_{};
};

std::string take_output(TlsSession& client) {
  std::string bytes;
  for (std::string_view piece; !(piece = client.output()).empty();) {
    bytes += piece;
    client.sent(piece.size());
  }
  return bytes;
}

/// Gives bytes of the server to the client, in pieces of at most `most`, with `then` behind each.
void give(TlsSession& client, std::string_view bytes, std::size_t most,
          const std::function<void()>& then) {
  while (!bytes.empty()) {
    const std::span<char> room = client.room();
    const std::size_t count = std::min({room.size(), bytes.size(), most});
    std::copy_n(bytes.begin(), count, room.begin());
    client.received(count);
    bytes.remove_prefix(count);
    then();
  }
}

/// Exchanges bytes until neither end has any more. Throws what the client throws.
void shake_hands(TlsSession& client, Server& server, std::size_t most = 1 << 20) {
  client.handshake();
  for (;;) {
    const std::string from_client = take_output(client);
    const std::string from_server = server.exchange(from_client);
    if (from_client.empty() && from_server.empty()) return;
    give(client, from_server, most, [&] { client.handshake(); });
  }
}

std::string read_all(TlsSession& client) {
  std::array<char, 1000> room{};
  std::string text;
  while (const std::size_t count = client.decrypt(room)) text.append(room.data(), count);
  return text;
}

/// The error of a connection between them, in the handshake or at the first bytes behind it.
IoError error_between(TlsContext& context, Server& server) {
  try {
    TlsSession client(context);
    shake_hands(client, server);
    EXPECT_TRUE(client.handshake());
    read_all(client);
  } catch (const IoError& error) {
    return error;
  }
  return {Errc::protocol_error, "none"};
}

std::string text_of(const IoError& error) { return error.what(); }

TEST(TlsSession, CarriesBytesBothWaysInPiecesOfAnySize) {
  for (const std::size_t most : {1U, 7U, 4096U, 1U << 20}) {
    TlsContext context(trusting(), "localhost");
    Server server(files().good);
    TlsSession client(context);
    shake_hands(client, server, most);
    ASSERT_TRUE(client.handshake());

    const std::string question(100'000, 'q');
    for (std::string_view rest = question; !rest.empty();) {
      rest.remove_prefix(client.encrypt(rest));
      server.exchange(take_output(client));
    }
    EXPECT_EQ(server.read(), question);

    std::string read;
    give(client, server.say(std::string(50'000, 'a')), most, [&] { read += read_all(client); });
    EXPECT_EQ(read, std::string(50'000, 'a'));
  }
}

TEST(TlsSession, EncryptsNothingBeforeTheHandshakeIsOver) {
  TlsContext context(trusting(), "localhost");
  TlsSession client(context);
  EXPECT_FALSE(client.handshake());
  EXPECT_EQ(client.encrypt("secret"), 0U);
  EXPECT_EQ(take_output(client).find("secret"), std::string::npos);
}

TEST(TlsSession, RefusesACertificateOfAnUnknownIssuerAndNamesTheOption) {
  TlsContext context(trusting(), "localhost");
  Server server(files().of_other);
  const IoError error = error_between(context, server);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(text_of(error).find("tls.ca_file"), std::string::npos) << error.what();
}

TEST(TlsSession, RefusesACertificateForAnotherNameAndNamesIt) {
  TlsContext context(trusting(), "redis.example");
  Server server(files().good);
  const IoError error = error_between(context, server);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(text_of(error).find("\"redis.example\""), std::string::npos) << error.what();
}

TEST(TlsSession, RefusesACertificateForAnotherAddress) {
  TlsContext context(trusting(), "127.0.0.2");
  Server server(files().good);
  const IoError error = error_between(context, server);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_NE(text_of(error).find("127.0.0.2"), std::string::npos) << error.what();
}

TEST(TlsSession, ChecksTheNameWithoutTheDotOfACompleteOne) {
  TlsContext context(trusting(), "localhost.");
  Server server(files().good);
  TlsSession client(context);
  shake_hands(client, server);
  EXPECT_TRUE(client.handshake());
}

TEST(TlsSession, AcceptsTheAddressOfTheCertificate) {
  TlsContext context(trusting(), "127.0.0.1");
  Server server(files().good);
  EXPECT_EQ(text_of(error_between(context, server)), "none");
}

TEST(TlsSession, ChecksTheNameOfTheOptionInsteadOfTheHost) {
  TlsOptions options = trusting();
  options.server_name = "localhost";
  TlsContext context(options, "10.1.2.3");
  Server server(files().good);
  EXPECT_EQ(text_of(error_between(context, server)), "none");
}

TEST(TlsSession, RefusesAnExpiredCertificate) {
  TlsContext context(trusting(), "localhost");
  Server server(files().expired);
  const IoError error = error_between(context, server);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_TRUE(text_of(error).ends_with(
      "certificate has expired; renew it at the server, or check the clock of this machine"))
      << error.what();
}

TEST(TlsSession, RefusesACertificateThatIsNotValidYet) {
  TlsContext context(trusting(), "localhost");
  Server server(files().early);
  const IoError error = error_between(context, server);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_TRUE(
      text_of(error).ends_with("certificate is not yet valid; check the clock of this "
                               "machine, and from when on the certificate is valid"))
      << error.what();
}

/// Which of the files is wrong cannot be seen without the name of the issuer.
TEST(TlsSession, NamesTheIssuerThatIsNotTrustedAndWhereItWasLookedFor) {
  const std::string file = files().issuer.file();
  const std::string directory = files().directory.path();
  const auto complaint = [](const TlsOptions& options) {
    TlsContext context(options, "localhost");
    Server server(files().of_other);
    const IoError error = error_between(context, server);
    EXPECT_EQ(error.code(), Errc::authentication_failed);
    return text_of(error);
  };
  const std::string its = "; its issuer \"/CN=other\" is ";
  const auto expect_end = [&](const std::string& text, const std::string& end) {
    EXPECT_TRUE(text.ends_with(its + end)) << text;
  };
  expect_end(complaint({.ca_file = file}), "not in tls.ca_file \"" + file + "\"");
  expect_end(complaint({.ca_dir = directory}), "not in tls.ca_dir \"" + directory + "\"");
  expect_end(complaint({.ca_file = file, .ca_dir = directory}),
             "neither in tls.ca_file \"" + file + "\" nor in tls.ca_dir \"" + directory + "\"");
  expect_end(complaint({}), "not one that the system trusts; name its file in tls.ca_file");
}

TEST(TlsSession, NamesTheIssuerThatTheServerSends) {
  TlsContext context(trusting(), "localhost");
  Server server(files().of_other, [](SSL_CTX* of_server) {
    const std::string file = files().other.file();
    BIO* const in = BIO_new_file(file.c_str(), "r");
    SSL_CTX_add_extra_chain_cert(of_server, PEM_read_bio_X509(in, nullptr, nullptr, nullptr));
    BIO_free(in);
  });
  const IoError error = error_between(context, server);
  EXPECT_NE(text_of(error).find("self-signed certificate in certificate chain; its issuer "
                                "\"/CN=other\" is not in tls.ca_file"),
            std::string::npos)
      << error.what();
}

TEST(TlsSession, AcceptsAnyCertificateWhereNoneIsVerified) {
  TlsContext context({.verify = false}, "redis.example");
  Server server(files().of_other);
  EXPECT_EQ(text_of(error_between(context, server)), "none");
}

const auto ask_for_certificate = [](SSL_CTX* context) {
  SSL_CTX_load_verify_locations(context, files().issuer.file().c_str(), nullptr);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
};

TEST(TlsSession, SaysThatTheServerWantsACertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsContext context(trusting(), "localhost");
    Server server(files().good, [&](SSL_CTX* of_server) {
      ask_for_certificate(of_server);
      SSL_CTX_set_max_proto_version(of_server, version);
    });
    const IoError error = error_between(context, server);
    EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
    EXPECT_NE(text_of(error).find("set tls.certificate and tls.key"), std::string::npos)
        << error.what();
  }
}

TEST(TlsSession, SaysThatTheServerRefusesItsCertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsOptions options = trusting();
    options.certificate = files().of_other.certificate;
    options.key = files().of_other.key;
    TlsContext context(options, "localhost");
    Server server(files().good, [&](SSL_CTX* of_server) {
      ask_for_certificate(of_server);
      SSL_CTX_set_max_proto_version(of_server, version);
    });
    const IoError error = error_between(context, server);
    EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
    EXPECT_NE(text_of(error).find("check tls.certificate"), std::string::npos) << error.what();
  }
}

TEST(TlsSession, ShowsItsCertificateToAServerThatAsks) {
  TlsOptions options = trusting();
  options.certificate = files().good.certificate;
  options.key = files().good.key;
  TlsContext context(options, "localhost");
  Server server(files().good, ask_for_certificate);
  EXPECT_EQ(text_of(error_between(context, server)), "none");
}

TEST(TlsSession, NeedsTls12) {
  TlsContext context(trusting(), "localhost");
  Server server(files().good, [](SSL_CTX* of_server) {
    SSL_CTX_set_security_level(of_server, 0);
    SSL_CTX_set_min_proto_version(of_server, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(of_server, TLS1_1_VERSION);
  });
  const IoError error = error_between(context, server);
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(text_of(error).find("TLS 1.2 or newer"), std::string::npos) << error.what();
}

TEST(TlsSession, SaysThatAPortDoesNotSpeakTls) {
  for (const std::string_view said : {"-ERR Protocol error\r\n", "HTTP/1.1 400 Bad Request\r\n"}) {
    TlsContext context(trusting(), "localhost");
    TlsSession client(context);
    client.handshake();
    try {
      give(client, said, 1 << 20, [&] { client.handshake(); });
      ADD_FAILURE() << "no error";
    } catch (const IoError& error) {
      EXPECT_EQ(error.code(), Errc::unreachable);
      EXPECT_NE(text_of(error).find("does not speak TLS"), std::string::npos) << error.what();
    }
  }
}

TEST(TlsSession, FailsWhenAByteOfTheTrafficWasChanged) {
  TlsContext context(trusting(), "localhost");
  Server server(files().good);
  TlsSession client(context);
  shake_hands(client, server);
  std::string bytes = server.say("+OK\r\n");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  give(client, bytes, 1 << 20, [] {});
  EXPECT_THROW(read_all(client), IoError);
}

TEST(TlsSession, SaysThatTheServerClosedTheConnection) {
  TlsContext context(trusting(), "localhost");
  Server server(files().good);
  TlsSession client(context);
  shake_hands(client, server);
  give(client, server.close(), 1 << 20, [] {});
  try {
    read_all(client);
    ADD_FAILURE() << "no error";
  } catch (const IoError& error) {
    EXPECT_EQ(text_of(error), "the server closed the connection");
  }
}

TEST(TlsSession, ResumesTheLastSession) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsContext context(trusting(), "localhost");
    Server server(files().good,
                  [&](SSL_CTX* of_server) { SSL_CTX_set_max_proto_version(of_server, version); });
    {
      TlsSession first(context);
      shake_hands(first, server);
      read_all(first);  // TLS 1.3 sends the session behind the handshake
      EXPECT_FALSE(server.is_resumed());
    }
    for (int i = 0; i < 5; ++i) {
      server.accept();
      TlsSession next(context);
      shake_hands(next, server);
      EXPECT_TRUE(next.handshake());
      read_all(next);
      EXPECT_TRUE(server.is_resumed()) << version << ", " << i;
    }
  }
}

/// Does something while a thread of the process forks, behind what the library does then.
class AtFork final : public detail::ForkAware {
 public:
  explicit AtFork(std::function<void()> action) : action_(std::move(action)) {}

  void before_fork() override { action_(); }
  void after_fork_in_parent() override {}
  void after_fork_in_child() noexcept override {}

 private:
  const std::function<void()> action_;
  const detail::ForkRegistration registration_{*this, detail::ForkOrder::last};
};

void while_forking(const std::function<void()>& action) {
  const AtFork at_fork(action);
  EXPECT_EQ(in_child([] { return 0; }), 0);
}

/// Whether an operation in another thread waits for the end of a fork.
bool waits_for_fork(const std::function<void()>& operation) {
  bool waits = false;
  std::jthread other;
  while_forking([&] {
    std::atomic<pid_t> thread = 0;
    const auto is_over = std::make_shared<std::atomic<bool>>(false);
    other = std::jthread([&thread, &operation, is_over] {
      thread = ::gettid();
      operation();
      *is_over = true;
    });
    EXPECT_TRUE(eventually([&] { return *is_over || (thread != 0 && sleeps(thread)); }));
    waits = !*is_over;
  });
  return waits;
}

/// In TLS 1.3, the server sends a session behind the handshake. OpenSSL takes locks of its own for
/// that, and to free a connection, and none for bytes of the program.
TEST(TlsSession, LeavesNoLockOfOpenSslHeldInAForkedChild) {
  TlsContext context(trusting(), "localhost");
  Server server(files().good);
  auto owned = std::make_unique<TlsSession>(context);
  TlsSession& client = *owned;
  shake_hands(client, server);
  EXPECT_TRUE(waits_for_fork([&] { read_all(client); }));

  while_forking([&] {
    give(client, server.say("+OK"), 1 << 20, [] {});
    EXPECT_EQ(read_all(client), "+OK");
  });

  EXPECT_TRUE(waits_for_fork([&] { owned.reset(); }));
}

/// No client has the files yet, or any more.
TEST(TlsContext, LeavesNoLockOfOpenSslHeldInAForkedChild) {
  std::optional<TlsContext> context;
  EXPECT_TRUE(waits_for_fork([&] { context.emplace(trusting(), "localhost"); }));
  EXPECT_TRUE(waits_for_fork([&] { context.reset(); }));
}

std::string refusal_of(const TlsOptions& options) {
  try {
    const TlsContext context(options, "localhost");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.what();
  }
  return "none";
}

/// The connection to a server that answers at once.
class Peer : public detail::Transport {
 public:
  explicit Peer(Server& server) : server_(server) {}

  void give(const std::string& bytes) { bytes_ += bytes; }

  void begin_waiting(const detail::Waiting&) override {}
  void settle_down() noexcept override {}
  void send_now(std::string_view bytes, std::size_t& sent) override {
    give(server_.exchange(bytes));
    sent += bytes.size();
  }
  bool wait_for_room(detail::TimePoint) override { return true; }
  std::size_t receive(std::span<char> room, detail::TimePoint) override {
    return receive_now(room);
  }
  std::size_t receive_now(std::span<char> room) override {
    EXPECT_FALSE(room.empty());
    const std::size_t count = bytes_.copy(room.data(), room.size());
    bytes_.erase(0, count);
    return count;
  }
  bool is_idle() noexcept override { return false; }
  int fd() const noexcept override { return -1; }
  void close() noexcept override {}
  void discard() noexcept override {}

 protected:
  bool has_answered() const noexcept { return !bytes_.empty(); }

 private:
  Server& server_;
  std::string bytes_{};
};

/// The server closes it behind its first answer.
class ClosingPeer final : public Peer {
 public:
  using Peer::Peer;

  void send_now(std::string_view bytes, std::size_t& sent) override {
    if (is_closed_) throw IoError(Errc::unreachable, "the connection was lost");
    Peer::send_now(bytes, sent);
    is_closed_ = has_answered();
  }

 private:
  bool is_closed_ = false;
};

TEST(TlsTransport, SaysThatACertificateIsRefusedThoughTheServerHasLeft) {
  Server server(files().of_other);
  detail::TlsTransport client(std::make_shared<TlsContext>(trusting(), "localhost"),
                              std::make_unique<ClosingPeer>(server));
  try {
    client.handshake();
    FAIL() << "The handshake goes on.";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), Errc::authentication_failed) << error.what();
  }
}

TEST(TlsTransport, GivesOutTheRepliesInFrontOfTheEnd) {
  Server server(files().good);
  auto made = std::make_unique<Peer>(server);
  Peer& peer = *made;
  detail::TlsTransport client(std::make_shared<TlsContext>(trusting(), "localhost"),
                              std::move(made));
  while (client.handshake() != detail::Transport::Handshake::done) continue;
  const std::string answer = "+OK\r\n";
  peer.give(server.say(answer));
  peer.give(server.close());
  std::array<char, 4096> room{};
  EXPECT_EQ(std::string_view(room.data(), client.receive_now(room)), answer);
  EXPECT_THROW(client.receive_now(room), IoError);
}

/// The server takes no bytes while it is deaf.
class DeafPeer final : public Peer {
 public:
  using Peer::Peer;

  bool is_deaf = false;

  void send_now(std::string_view bytes, std::size_t& sent) override {
    if (!is_deaf) Peer::send_now(bytes, sent);
  }
};

class TlsTransportUnread : public testing::Test {
 protected:
  TlsTransportUnread() {
    while (client.handshake() != detail::Transport::Handshake::done) continue;
    peer.is_deaf = true;
    client.send_now(question, sent);
    EXPECT_EQ(sent, 0U);
  }

  /// What the client reads when the server has asked for new keys before its answer.
  std::string read_behind_request_for_keys() {
    server.update_keys();
    peer.give(server.say(answer));
    std::string read;
    std::array<char, 4096> room{};
    while (read.size() < answer.size()) read.append(room.data(), client.receive(room, {}));
    return read;
  }

  const std::string question = std::string(100'000, 'q');
  const std::string answer = std::string(20'000, 'a');
  std::size_t sent = 0;
  Server server{files().good};
  std::unique_ptr<DeafPeer> made = std::make_unique<DeafPeer>(server);
  DeafPeer& peer = *made;
  detail::TlsTransport client{std::make_shared<TlsContext>(trusting(), "localhost"),
                              std::move(made)};
};

TEST_F(TlsTransportUnread, ReadsWhatIsBehindARequestForNewKeys) {
  for (int i = 0; i < 30; ++i) EXPECT_EQ(read_behind_request_for_keys(), answer);
  peer.is_deaf = false;
  client.send_now(question, sent);
  EXPECT_EQ(sent, question.size());
  EXPECT_EQ(server.read(), question);
}

TEST_F(TlsTransportUnread, GivesAPeerUpWhoseRequestsForNewKeysFillTheOutput) {
  try {
    for (int i = 0; i < 100; ++i) EXPECT_EQ(read_behind_request_for_keys(), answer);
    ADD_FAILURE() << "no error";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), Errc::unreachable);
    EXPECT_NE(text_of(error).find("new keys"), std::string::npos) << error.what();
  }
}

TEST(TlsContext, NamesTheOptionAndTheFileThatCannotBeUsed) {
  const std::string missing = files().directory.path() + "/missing";
  for (const auto& [options, name] :
       {std::pair(TlsOptions{.ca_file = missing}, "tls.ca_file"),
        std::pair(TlsOptions{.certificate = missing, .key = missing}, "tls.certificate"),
        std::pair(TlsOptions{.certificate = files().good.certificate, .key = missing},
                  "tls.key")}) {
    const std::string text = refusal_of(options);
    EXPECT_NE(text.find(name), std::string::npos) << text;
    EXPECT_NE(text.find(missing), std::string::npos) << text;
    EXPECT_NE(text.find("No such file"), std::string::npos) << text;
  }
}

TEST(TlsContext, RefusesAKeyOfAnotherCertificateAndOneOfTheTwoAlone) {
  EXPECT_NE(refusal_of({.certificate = files().good.certificate, .key = files().of_other.key}),
            "none");
  EXPECT_NE(refusal_of({.certificate = files().good.certificate}).find("without tls.key"),
            std::string::npos);
  EXPECT_NE(refusal_of({.key = files().good.key}).find("without tls.certificate"),
            std::string::npos);
}

}  // namespace
}  // namespace redlatch::test::tls_test
