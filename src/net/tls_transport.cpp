#include "net/tls_transport.hpp"

#include <array>
#include <cassert>
#include <exception>
#include <new>

#include <redlatch/error.hpp>

namespace redlatch::detail {

#ifdef REDLATCH_TLS

std::shared_ptr<TlsContext> tls_for_host(const std::shared_ptr<TlsContext>& context,
                                         std::string_view host) {
  return context ? std::make_shared<TlsContext>(*context, host) : nullptr;
}

std::shared_ptr<TlsContext> make_tls_context(const TlsOptions& options, std::string_view host,
                                             std::string_view name) {
  return std::make_shared<TlsContext>(options, host, name);
}

std::unique_ptr<Transport> with_tls(std::shared_ptr<TlsContext> context,
                                    std::unique_ptr<Transport> under) {
  return std::make_unique<TlsTransport>(std::move(context), std::move(under));
}

/// True when nothing is left to send.
bool TlsTransport::flush_now() {
  for (;;) {
    const std::string_view output = session_.output();
    if (output.empty()) return true;
    std::size_t sent = 0;
    under_->send_now(output, sent);
    session_.sent(sent);
    if (sent < output.size()) return false;
  }
}

/// Tells the peer why the handshake has failed, which says more than that the peer has left.
void TlsTransport::send_alert() {
  try {
    flush_now();
  } catch (const IoError&) {
    // The peer has left, and does not read the alert.
  }
}

/// Returns how many bytes there were without waiting. `is_drained` says whether there are no more.
std::size_t TlsTransport::fill_now(bool& is_drained) {
  const std::span<char> room = session_.room();
  assert(!room.empty());
  const std::size_t count = under_->receive_now(room);
  session_.received(count);
  is_drained = count < room.size();
  return count;
}

Transport::Handshake TlsTransport::handshake() {
  for (;;) {
    bool is_over = false;
    try {
      is_over = session_.handshake();
    } catch (const IoError&) {
      send_alert();
      throw;
    }
    if (!flush_now()) return Handshake::wants_room;
    if (is_over) return Handshake::done;
    bool is_drained = false;
    if (fill_now(is_drained) == 0) return Handshake::wants_bytes;
  }
}

/// `sent` counts the bytes of a record once all of the record is sent: a part of a record is
/// nothing to the server, so a command in it is certain not to be carried out.
void TlsTransport::send_now(std::string_view bytes, std::size_t& sent) {
  while (flush_now()) {
    sent += std::exchange(encrypted_, 0);
    if (sent == bytes.size()) return;
    encrypted_ = session_.encrypt(bytes.substr(sent));
    if (encrypted_ == 0) return;
  }
}

std::size_t TlsTransport::receive(std::span<char> room, TimePoint deadline) {
  bool is_drained = false;
  for (;;) {
    if (failure_ || session_.has_input()) {
      if (const std::size_t count = take(room, is_drained); count > 0) return count;
    }
    const std::span<char> wanted = session_.room();
    const std::size_t count = under_->receive(wanted, deadline);
    session_.received(count);
    is_drained = count < wanted.size();
  }
}

std::size_t TlsTransport::receive_now(std::span<char> room) { return take(room, false); }

/// Returns less than there is room for only when all that has come is given out: a poll of the
/// descriptor shows no bytes that stand in the session. `is_drained`: nothing more has come than
/// stands there.
std::size_t TlsTransport::take(std::span<char> room, bool is_drained) {
  if (failure_) throw IoError(*failure_);
  std::size_t count = 0;
  try {
    while (count < room.size()) {
      if (session_.has_input()) {
        count += session_.decrypt(room.subspan(count));
      } else if (is_drained) {
        break;
      } else {
        fill_now(is_drained);
      }
    }
  } catch (const IoError& error) {
    // Replies that came in front of the end are given out first: they settle what is in doubt.
    failure_ = error;
    if (count == 0) throw;
  }
  return count;
}

/// Bytes of TLS itself, such as a new session, are no reply: they are taken in.
bool TlsTransport::is_idle() noexcept {
  try {
    std::array<char, 1> room{};
    return receive_now(room) == 0;
  } catch (const std::exception&) {
    return false;
  }
}

void leave_tls() noexcept { TlsContext::leave(); }

#else

std::shared_ptr<TlsContext> make_tls_context(const TlsOptions&, std::string_view,
                                             std::string_view) {
  throw Error(Errc::unsupported,
              "TLS (rediss://) is not built in; build redlatch with OpenSSL (libssl-dev) and "
              "REDLATCH_TLS on, or <redlatch/src.hpp> with -DREDLATCH_TLS");
}

// There is no context, so none of the two has anything to do.

std::shared_ptr<TlsContext> tls_for_host(const std::shared_ptr<TlsContext>&, std::string_view) {
  return nullptr;
}

std::unique_ptr<Transport> with_tls(std::shared_ptr<TlsContext>, std::unique_ptr<Transport> under) {
  return under;
}

void leave_tls() noexcept {}

#endif

}  // namespace redlatch::detail
