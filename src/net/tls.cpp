#ifdef REDLATCH_TLS  // the build has OpenSSL
#include "net/tls.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <new>
#include <system_error>
#include <utility>

#include <redlatch/error.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {
namespace {

// The two buffers between OpenSSL and the socket: a record has 16 KiB and its frame at most.
constexpr std::size_t buffer_size = std::size_t{17} * 1024;

/// RFC 8446, section 6.2: alerts by which a peer refuses a certificate.
constexpr std::array refusing_alerts{SSL_AD_BAD_CERTIFICATE,     SSL_AD_UNSUPPORTED_CERTIFICATE,
                                     SSL_AD_CERTIFICATE_REVOKED, SSL_AD_CERTIFICATE_EXPIRED,
                                     SSL_AD_CERTIFICATE_UNKNOWN, SSL_AD_UNKNOWN_CA,
                                     SSL_AD_ACCESS_DENIED,       SSL_AD_CERTIFICATE_REQUIRED};

/// The alert of the peer that an error is about; -1: none.
int alert_of(unsigned long error) noexcept {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return -1;
  const int reason = ERR_GET_REASON(error);
  return reason >= SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
}

std::string text_of(unsigned long error) {
  const char* const reason = ERR_reason_error_string(error);
  return reason == nullptr ? "error " + std::to_string(error) : reason;
}

bool is_address(const std::string& name) noexcept {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

/// Without what the system alone looks at: the zone of an IPv6 address, and the dot behind a host
/// name that is complete, which certificates and RFC 6066, section 3, leave out.
std::string_view checked_name(std::string_view host) noexcept {
  host = host.substr(0, host.find('%'));
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

/// The first error since `ERR_clear_error`. Throws `std::bad_alloc` if one of them, perhaps a later
/// one, is that there was no memory.
unsigned long take_error() {
  const unsigned long first = ERR_get_error();
  for (unsigned long error = first; error != 0; error = ERR_get_error()) {
    if (ERR_GET_REASON(error) != ERR_R_MALLOC_FAILURE) continue;
    ERR_clear_error();
    throw std::bad_alloc();
  }
  return first;
}

/// Whether the system had no descriptor for a file, which says nothing about that.
bool is_shortage(unsigned long error) noexcept {
  const int reason = ERR_GET_REASON(error);
  return ERR_SYSTEM_ERROR(error) && (reason == EMFILE || reason == ENFILE);
}

[[noreturn]] void refuse_file(unsigned long error, const std::string& option,
                              const std::string& file) {
  const std::string reason = ERR_SYSTEM_ERROR(error)
                                 ? std::generic_category().message(ERR_GET_REASON(error))
                                 : text_of(error);
  throw Error(is_shortage(error) ? Errc::unreachable : Errc::invalid_argument,
              option + ": \"" + file + "\" cannot be used (" + reason + ")");
}

void check(bool good, const std::string& option, const std::string& file) {
  if (!good) refuse_file(take_error(), option, file);
}

/// As SSL_CTX_set_default_verify_paths(3), which says nothing when there is no descriptor or memory
/// for the file: then the client would take all servers for impostors until its end. `name`: of the
/// options.
void read_default_files(SSL_CTX* context, const std::string& name) {
  const char* const given = ::secure_getenv(X509_get_default_cert_file_env());
  const std::string file = given != nullptr ? given : X509_get_default_cert_file();
  if (SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) != 1) {
    // Without such a file, there may be a directory.
    const unsigned long error = take_error();
    if (is_shortage(error)) refuse_file(error, name + ".ca_file", file);
  }
  bool good = SSL_CTX_set_default_verify_dir(context) == 1;
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
  good = good && SSL_CTX_set_default_verify_store(context) == 1;
#endif
  if (!good) throw std::bad_alloc();
  ERR_clear_error();
}

/// Whether what was received is no TLS at all.
bool is_other_protocol(unsigned long error) noexcept {
  const int reason = ERR_GET_REASON(error);
  return ERR_GET_LIB(error) == ERR_LIB_SSL &&
         (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
          reason == SSL_R_UNEXPECTED_MESSAGE || reason == SSL_R_BAD_RECORD_TYPE);
}

/// `name`: of the options.
void read_files(SSL_CTX* context, const TlsOptions& options, const std::string& name) {
  if (!options.ca_file.empty()) {
    check(SSL_CTX_load_verify_locations(context, options.ca_file.c_str(), nullptr) == 1,
          name + ".ca_file", options.ca_file);
  }
  if (!options.ca_dir.empty()) {
    check(SSL_CTX_load_verify_locations(context, nullptr, options.ca_dir.c_str()) == 1,
          name + ".ca_dir", options.ca_dir);
  }
  if (options.ca_file.empty() && options.ca_dir.empty()) read_default_files(context, name);
  const std::string certificate = name + ".certificate";
  const std::string key = name + ".key";
  if (options.certificate.empty() != options.key.empty()) {
    throw Error(Errc::invalid_argument, options.key.empty()
                                            ? certificate + " is set without " + key
                                            : key + " is set without " + certificate);
  }
  if (options.certificate.empty()) return;
  check(SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) == 1, certificate,
        options.certificate);
  // A key with a password would be asked for at the terminal.
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
  check(SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) == 1, key,
        options.key);
  check(SSL_CTX_check_private_key(context) == 1, key, options.key);
}

/// The issuer that is missing behind the certificates that the server has sent, in one line; empty
/// where OpenSSL does not keep them (1.1.1).
std::string last_issuer(const SSL* connection) {
  STACK_OF(X509)* const sent = SSL_get_peer_cert_chain(connection);
  if (sent == nullptr || sk_X509_num(sent) == 0) return {};
  const X509* last = sk_X509_value(sent, 0);
  // They may come in any order, and their names may form a circle.
  for (int steps = sk_X509_num(sent); steps > 0; --steps) {
    for (int i = 0; i < sk_X509_num(sent); ++i) {
      const X509* const one = sk_X509_value(sent, i);
      if (X509_NAME_cmp(X509_get_subject_name(one), X509_get_issuer_name(last)) == 0) last = one;
    }
  }
  std::array<char, 256> line{};
  X509_NAME_oneline(X509_get_issuer_name(last), line.data(), static_cast<int>(line.size()));
  return line.data();
}

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }
void TlsContext::Free::operator()(ssl_session_st* session) const noexcept {
  SSL_SESSION_free(session);
}

namespace {

/// OpenSSL frees what its functions need when the process exits, while threads that nothing joins
/// (`DetachedCall`) may be in a handshake, and clients in static storage may still end. The first
/// call decides, so it can be too late where the program has used OpenSSL before.
SSL_CTX* make_context() {
  OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr);
  return SSL_CTX_new(TLS_client_method());
}

}  // namespace

TlsContext::Files::Files(const TlsOptions& options, std::string_view options_name)
    : name(options_name),
      server_name(options.server_name),
      ca_file(options.ca_file),
      ca_dir(options.ca_dir),
      verify(options.verify),
      has_certificate(!options.certificate.empty()) {
  const MutexLock lock(mutex);
  std::unique_ptr<ssl_ctx_st, Free> made(make_context());
  if (!made) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(made.get(), TLS1_2_VERSION);
  // A second handshake would take place without the mutex. TLS 1.3 has none.
  SSL_CTX_set_options(made.get(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(made.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(made.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_session_cache_mode(made.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(made.get(), keep_session);
  ERR_clear_error();
  read_files(made.get(), options, name);
  context = std::move(made);
}

TlsContext::Files::~Files() {
  const MutexLock lock(mutex);
  context.reset();
}

TlsContext::TlsContext(const TlsOptions& options, std::string_view host, std::string_view name)
    : TlsContext(std::make_shared<Files>(options, name), host) {}

TlsContext::TlsContext(std::shared_ptr<Files> files, std::string_view host)
    : files_(std::move(files)),
      name_(checked_name(files_->server_name.empty() ? host : files_->server_name)) {}

TlsContext::~TlsContext() {
  const MutexLock lock(files_->mutex);
  session_.reset();
}

void TlsContext::leave() noexcept { OPENSSL_thread_stop(); }

/// Called by OpenSSL with a session that the server lets us resume, in a handshake or behind it,
/// with the mutex held. The result says that we own it.
int TlsContext::keep_session(ssl_st* connection, ssl_session_st* session) noexcept {
  auto* const self = static_cast<TlsContext*>(SSL_get_app_data(connection));
  self->session_.reset(session);
  return 1;
}

/// Without the flags OpenSSL forgets the session of a connection that was closed without an alert.
void TlsSession::Free::operator()(ssl_st* connection) const noexcept {
  SSL_set_shutdown(connection, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(connection);
}
void TlsSession::Free::operator()(bio_st* bio) const noexcept { BIO_free(bio); }

TlsSession::~TlsSession() {
  const MutexLock lock(context_->files_->mutex);
  connection_.reset();
  wire_.reset();
}

TlsSession::TlsSession(TlsContext& context) : context_(&context) {
  const MutexLock lock(context.files_->mutex);
  connection_.reset(SSL_new(context.files_->context.get()));
  BIO* inner = nullptr;
  BIO* outer = nullptr;
  if (!connection_ || BIO_new_bio_pair(&inner, buffer_size, &outer, buffer_size) != 1) {
    throw std::bad_alloc();
  }
  wire_.reset(outer);
  SSL_set_bio(connection_.get(), inner, inner);
  SSL_set_connect_state(connection_.get());
  // No alert at the end: what matters is that all replies were read, and the engine knows that. A
  // forked child must not send one on its parent's connection.
  SSL_set_quiet_shutdown(connection_.get(), 1);
  if (SSL_set_app_data(connection_.get(), &context) != 1) throw std::bad_alloc();
  SSL_set_msg_callback(connection_.get(), begin_message);
  SSL_set_msg_callback_arg(connection_.get(), this);
  const std::string& name = context.name_;
  ERR_clear_error();
  X509_VERIFY_PARAM* const checks = SSL_get0_param(connection_.get());
  // OpenSSL compares no name unless it is told to: any server with a certificate would do.
  const bool good = is_address(name)
                        ? X509_VERIFY_PARAM_set1_ip_asc(checks, name.c_str()) == 1
                        : SSL_set1_host(connection_.get(), name.c_str()) == 1 &&
                              SSL_set_tlsext_host_name(connection_.get(), name.c_str()) == 1;
  if (!good) {
    static_cast<void>(take_error());  // perhaps it is memory
    throw IoError(Errc::unreachable, "TLS: \"" + name + "\" can be no server's name");
  }
  if (!context.session_) return;
  SSL_set_session(connection_.get(), context.session_.get());
  // One of TLS 1.3 is resumed once, as RFC 8446, appendix C.4 advises: each connection gets a new
  // one. With TLS 1.2 a server may send none with a session that it resumes.
  if (SSL_SESSION_get_protocol_version(context.session_.get()) >= TLS1_3_VERSION) {
    context.session_.reset();
  }
}

std::span<char> TlsSession::room() noexcept {
  char* begin = nullptr;
  const int size = BIO_nwrite0(wire_.get(), &begin);
  return size > 0 ? std::span(begin, static_cast<std::size_t>(size)) : std::span<char>();
}

void TlsSession::received(std::size_t count) noexcept {
  char* begin = nullptr;
  [[maybe_unused]] const int taken = BIO_nwrite(wire_.get(), &begin, static_cast<int>(count));
  assert(taken == static_cast<int>(count));
}

std::string_view TlsSession::output() noexcept {
  char* begin = nullptr;
  const int size = BIO_nread0(wire_.get(), &begin);
  return size > 0 ? std::string_view(begin, static_cast<std::size_t>(size)) : std::string_view();
}

void TlsSession::sent(std::size_t count) noexcept {
  char* begin = nullptr;
  [[maybe_unused]] const int taken = BIO_nread(wire_.get(), &begin, static_cast<int>(count));
  assert(taken == static_cast<int>(count));
}

/// Called by OpenSSL when it has read a message, before it acts on it, or has written one. Of the
/// bytes of the program it says only that there is a record. Those of a handshake are behind it:
/// new keys and sessions, for which OpenSSL takes locks of its own.
void TlsSession::begin_message(int, int, int type, const void*, std::size_t, ssl_st*,
                               void* session) noexcept {
  auto* const self = static_cast<TlsSession*>(session);
  if (type != SSL3_RT_HANDSHAKE || !self->is_over_ || self->holds_mutex_) return;
  self->context_->files_->mutex.lock();
  self->holds_mutex_ = true;
}

void TlsSession::end_message() noexcept {
  if (std::exchange(holds_mutex_, false)) context_->files_->mutex.unlock();
}

bool TlsSession::has_input() const noexcept {
  return BIO_ctrl_wpending(wire_.get()) > 0 || SSL_pending(connection_.get()) > 0;
}

/// The result of an operation, or 0 when it needs more from the peer, or more room in `output`.
template <class Step>
int TlsSession::step(Step operation) {
  // Errors of others in this thread. To clear the queue costs as much as all else around a reply.
  if (ERR_peek_error() != 0) ERR_clear_error();
  const int result = operation(connection_.get());
  end_message();
  if (result > 0) return result;
  switch (SSL_get_error(connection_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      throw IoError(Errc::unreachable, "the server closed the connection");
    default:
      fail();
  }
}

bool TlsSession::handshake() {
  if (is_over_) return true;
  const MutexLock lock(context_->files_->mutex);
  is_over_ = step([](SSL* connection) { return SSL_do_handshake(connection); }) > 0;
  return is_over_;
}

std::size_t TlsSession::encrypt(std::string_view text) {
  if (text.empty()) return 0;
  const int size = static_cast<int>(std::min<std::size_t>(text.size(), INT_MAX));
  return static_cast<std::size_t>(
      step([&](SSL* connection) { return SSL_write(connection, text.data(), size); }));
}

/// The replies to a few requests for new keys find room behind a whole record that is not sent yet,
/// so that `decrypt` need not wait for room, as `encrypt` does.
std::size_t TlsSession::decrypt(std::span<char> text) {
  const int size = static_cast<int>(std::min<std::size_t>(text.size(), INT_MAX));
  const int count = step([&](SSL* connection) { return SSL_read(connection, text.data(), size); });
  if (count == 0 && SSL_want_write(connection_.get())) {
    throw IoError(
        Errc::unreachable,
        "TLS: the server asks for new keys again and again, and does not read the replies");
  }
  return static_cast<std::size_t>(count);
}

/// Throws the error that OpenSSL has left.
void TlsSession::fail() const {
  const unsigned long error = take_error();
  if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED) fail_verification();
  const int alert = alert_of(error);
  if (std::ranges::find(refusing_alerts, alert) != refusing_alerts.end() ||
      (alert == SSL_AD_HANDSHAKE_FAILURE && lacks_certificate())) {
    const std::string& options = context_->files_->name;
    throw IoError(Errc::authentication_failed,
                  "TLS: the server refuses the client's certificate (" + text_of(error) + "); " +
                      (context_->files_->has_certificate
                           ? "check " + options + ".certificate"
                           : "set " + options + ".certificate and " + options + ".key"));
  }
  if (!is_over_ && is_other_protocol(error)) {
    throw IoError(
        Errc::unreachable,
        "this port does not speak TLS; use a URL without TLS, as with redis://, or another port");
  }
  std::string what = is_over_ ? "TLS: the connection broke (" : "TLS: the handshake failed (";
  what += text_of(error);
  what += ')';
  const int reason = ERR_GET_REASON(error);
  if (alert == SSL_AD_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL) {
    what += "; the server has to allow TLS 1.2 or newer";
  }
  throw IoError(Errc::unreachable, what);
}

void TlsSession::fail_verification() const {
  const long result = SSL_get_verify_result(connection_.get());
  // No verdict on the certificate: what OpenSSL needed for one has failed, mostly for memory.
  if (result == X509_V_ERR_OUT_OF_MEM) throw std::bad_alloc();
  if (result == X509_V_OK || result == X509_V_ERR_UNSPECIFIED) {
    throw IoError(Errc::unreachable, "TLS: the server's certificate could not be checked");
  }
  std::string what = "TLS: the server's certificate is refused: ";
  what += X509_verify_cert_error_string(result);
  switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      what += ", it is not for \"" + context_->name_ + "\"; use its name, or set " +
              context_->files_->name + ".server_name";
      break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      what += "; " + missing_issuer();
      break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      what += "; renew it at the server, or check the clock of this machine";
      break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      what += "; check the clock of this machine, and from when on the certificate is valid";
      break;
    default:
      break;
  }
  throw IoError(Errc::authentication_failed, what);
}

/// Which issuer is not trusted, and where it was looked for.
std::string TlsSession::missing_issuer() const {
  const TlsContext::Files& files = *context_->files_;
  const std::string issuer = last_issuer(connection_.get());
  const std::string file = files.name + ".ca_file";
  const std::string in_file = "in " + file + " \"" + files.ca_file + "\"";
  const std::string in_dir = "in " + files.name + ".ca_dir \"" + files.ca_dir + "\"";
  std::string text = issuer.empty() ? "its issuer is " : "its issuer \"" + issuer + "\" is ";
  if (files.ca_file.empty() && files.ca_dir.empty()) {
    return text + "not one that the system trusts; name its file in " + file;
  }
  if (files.ca_dir.empty()) return text + "not " + in_file;
  return files.ca_file.empty() ? text + "not " + in_dir
                               : text + "neither " + in_file + " nor " + in_dir;
}

/// Whether the server has asked for a certificate, in vain. For TLS 1.2, which has no alert for
/// that.
bool TlsSession::lacks_certificate() const noexcept {
  return !context_->files_->has_certificate &&
         SSL_get0_certificate_types(connection_.get(), nullptr) > 0;
}

}  // namespace redlatch::detail
#endif
