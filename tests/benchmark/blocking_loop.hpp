#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "window.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace redlatch::benchmark {

/// The least that a client can do: a blocking socket, and with TLS, OpenSSL right above it. The
/// acquisitions of all its keys are one write, and so are the releases. Of a reply no more is
/// looked at than that it is the right one.
class BlockingLoop final : public Worker {
 public:
  enum class Release {
    waited_for,  // as `unlock()` does
    sent         // as `~Lock` does: the reply is read with the next acquisition's
  };

  /// `ca_file` is the issuer of the server's certificate; empty: plain TCP.
  BlockingLoop(std::uint16_t port, const std::string& ca_file, Release release,
               std::vector<std::string> keys);
  ~BlockingLoop() override;

  /// `SET key token NX PX 10000`, and the release script by EVALSHA, for each key.
  void acquire() override;
  void release() override;

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
    void operator()(ssl_st* connection) const noexcept;
  };

  void secure(const std::string& ca_file);
  void send(std::string_view command);
  std::string_view receive(std::size_t size);
  void expect(std::string_view reply, const char* failure);

  int fd_;
  Release release_;
  std::unique_ptr<ssl_ctx_st, Free> context_{};
  std::unique_ptr<ssl_st, Free> connection_{};  // null: plain TCP
  std::vector<std::string> keys_;
  std::string token_{};
  std::string sha1_{};
  std::string owed_{};  // the replies to releases that were not waited for
  std::string room_;
};

}  // namespace redlatch::benchmark
