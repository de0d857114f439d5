#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <redlatch/options.hpp>

#include "base/fork_aware.hpp"
#include "base/mutex.hpp"

// OpenSSL's own names; its headers are included by tls.cpp alone.
struct bio_st;
struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

namespace redlatch::detail {

/// What the TLS connections to one server have in common: the checks of its certificate, the
/// client's own, and the last session, which the next connection resumes.
///
/// The mutex of the files is held while they are read and freed, during each step of a handshake,
/// while a session or new keys are taken in behind it, and while a connection is made or freed, as
/// OpenSSL takes locks of its own then: with this mutex, `fork()` waits until they are free. These
/// locks are those of the whole process, so that also a client that has just begun, or is about to
/// end, is waited for. A step takes about a millisecond and never waits for the peer.
class TlsContext {
 public:
  /// Reads the files that the options name. `host` is what the URL names: the certificate has to be
  /// for it unless `options.server_name` is set. `name`: that of the options, for errors. Throws
  /// `Errc::invalid_argument` with the option and the file for one that cannot be used.
  TlsContext(const TlsOptions& options, std::string_view host, std::string_view name = "tls");
  /// For another server with the options of `other`. It shares what was read from the files, and
  /// its sessions are its own.
  TlsContext(const TlsContext& other, std::string_view host) : TlsContext(other.files_, host) {}
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  ~TlsContext();

  /// Frees what OpenSSL keeps for the calling thread.
  static void leave() noexcept;

 private:
  friend class TlsSession;
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
    void operator()(ssl_session_st* session) const noexcept;
  };

  /// What the options say, but for the host.
  struct Files final : ForkAware {
    Files(const TlsOptions& options, std::string_view name);
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;
    virtual ~Files();

    void before_fork() override REDLATCH_ACQUIRE(mutex) { mutex.lock(); }
    void after_fork_in_parent() override REDLATCH_RELEASE(mutex) { mutex.unlock(); }
    void after_fork_in_child() noexcept override REDLATCH_RELEASE(mutex) { mutex.unlock(); }

    const std::string name;  // of the options
    const std::string server_name;
    const std::string ca_file;
    const std::string ca_dir;
    const bool verify;
    const bool has_certificate;
    Mutex mutex{};
    std::unique_ptr<ssl_ctx_st, Free> context{};
    // Not that of a client: its threads use OpenSSL before and after that.
    const ForkRegistration registration{*this, ForkOrder::last};
  };

  TlsContext(std::shared_ptr<Files> files, std::string_view host);
  static int keep_session(ssl_st* connection,
                          ssl_session_st* session) noexcept REDLATCH_NO_THREAD_SAFETY_ANALYSIS;

  const std::shared_ptr<Files> files_;
  const std::string name_;  // that the certificate has to be for
  // To be resumed; null: none.
  std::unique_ptr<ssl_session_st, Free> session_ REDLATCH_GUARDED_BY(files_->mutex){};
};

/// One end of a TLS connection: bytes of the peer in, bytes for the peer out, without a socket.
/// Members that are not noexcept throw `IoError`, with `authentication_failed` when either side
/// refuses the other's certificate, and `unreachable` for all else; what `output` has by then, such
/// as an alert, may still be sent. One thread at a time may use it.
class TlsSession {
 public:
  /// The client's end. `context` must live longer.
  explicit TlsSession(TlsContext& context);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  /// Continues the handshake with what was received. True when it is over.
  bool handshake();

  /// Where bytes of the peer can be written to; empty while what was received has to be decrypted
  /// first.
  std::span<char> room() noexcept;
  /// So many bytes of the peer stand in `room` now.
  void received(std::size_t count) noexcept;
  /// The first bytes to be sent to the peer; more may follow once these are sent.
  std::string_view output() noexcept;
  void sent(std::size_t count) noexcept;

  /// Whether there are bytes to decrypt or to give out. False behind a `decrypt` that returned 0: a
  /// part of a record is no input.
  bool has_input() const noexcept;
  /// Encrypts as much as `output` has room for; returns how many bytes that are, perhaps 0.
  std::size_t encrypt(std::string_view text);
  /// Returns how many decrypted bytes stand in `text` now: 0 when more has to be received first.
  std::size_t decrypt(std::span<char> text);

 private:
  struct Free {
    void operator()(ssl_st* connection) const noexcept;
    void operator()(bio_st* bio) const noexcept;
  };

  template <class Step>
  int step(Step operation);
  static void begin_message(int is_written, int version, int type, const void* bytes,
                            std::size_t size, ssl_st* connection,
                            void* session) noexcept REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void end_message() noexcept REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  [[noreturn]] void fail() const;
  [[noreturn]] void fail_verification() const;
  std::string missing_issuer() const;
  bool lacks_certificate() const noexcept;

  TlsContext* context_;
  std::unique_ptr<ssl_st, Free> connection_;
  std::unique_ptr<bio_st, Free> wire_;
  bool is_over_ = false;      // the handshake
  bool holds_mutex_ = false;  // from `begin_message` to `end_message`
};

}  // namespace redlatch::detail
