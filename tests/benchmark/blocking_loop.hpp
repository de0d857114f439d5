#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "window.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace redlatch::benchmark {

/// What TLS costs at least: a blocking socket, and OpenSSL right above it. One command after the
/// other, each in one write, and of the reply no more is read than that it is the right one.
class BlockingLoop final : public Worker {
 public:
  /// The issuer of the server's certificate; empty: plain TCP.
  BlockingLoop(std::uint16_t port, const std::string& ca_file, std::string key);
  ~BlockingLoop() override;

  /// `SET key token NX PX 10000`, and the release script by EVALSHA.
  void acquire() override;
  void release() override;

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
    void operator()(ssl_st* connection) const noexcept;
  };

  void secure(const std::string& ca_file);
  std::string_view ask(std::string_view command);

  int fd_;
  std::unique_ptr<ssl_ctx_st, Free> context_{};
  std::unique_ptr<ssl_st, Free> connection_{};  // null: plain TCP
  std::string key_;
  std::string token_{};
  std::string sha1_{};
  std::string reply_;
};

}  // namespace redlatch::benchmark
