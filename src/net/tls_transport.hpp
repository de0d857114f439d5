#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <redlatch/detail/clock.hpp>

#include "base/io_error.hpp"
#include "net/tls.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// TLS over another transport. Only what is behind the last byte of an encrypted record counts as
/// sent: the peer cannot decrypt a part of a record.
class TlsTransport final : public Transport {
 public:
  TlsTransport(std::shared_ptr<TlsContext> context, std::unique_ptr<Transport> under)
      : context_(std::move(context)), session_(*context_), under_(std::move(under)) {}

  Handshake handshake() override;

  void begin_waiting(const Waiting& waiting) override { under_->begin_waiting(waiting); }
  void settle_down() noexcept override { under_->settle_down(); }

  void send_now(std::string_view bytes, std::size_t& sent) override;
  bool wait_for_room(TimePoint deadline) override { return under_->wait_for_room(deadline); }
  std::size_t receive(std::span<char> room, TimePoint deadline) override;
  std::size_t receive_now(std::span<char> room) override;

  bool is_idle() noexcept override;
  int fd() const noexcept override { return under_->fd(); }
  void close() noexcept override { under_->close(); }
  void discard() noexcept override { under_->discard(); }

 private:
  bool flush_now();
  void send_alert();
  std::size_t fill_now(bool& is_drained);
  std::size_t take(std::span<char> room, bool is_drained);

  const std::shared_ptr<TlsContext> context_;
  TlsSession session_;
  const std::unique_ptr<Transport> under_;
  std::size_t encrypted_ = 0;  // bytes of `send_now` whose record is not sent completely
  /// The end of the connection, found while there were bytes to give out first.
  std::optional<IoError> failure_{};
};

/// Throws `Errc::unsupported` where the library was built without OpenSSL; see also `TlsContext`.
std::shared_ptr<TlsContext> make_tls_context(const TlsOptions& options, std::string_view host,
                                             std::string_view name = "tls");
/// The same for another server; null for null.
std::shared_ptr<TlsContext> tls_for_host(const std::shared_ptr<TlsContext>& context,
                                         std::string_view host);
/// Frees what the library of TLS keeps for the calling thread.
void leave_tls() noexcept;
std::unique_ptr<Transport> with_tls(std::shared_ptr<TlsContext> context,
                                    std::unique_ptr<Transport> under);

}  // namespace redlatch::detail
