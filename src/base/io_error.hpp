#pragma once

#include <stdexcept>
#include <string>

#include <redlatch/error.hpp>

namespace redlatch::detail {

/// An error of one connection, where the lock that it concerns is not known.
class IoError : public std::runtime_error {
 public:
  IoError(Errc code, const std::string& text) : std::runtime_error(text), code_(code) {}

  Errc code() const noexcept { return code_; }

 private:
  Errc code_;
};

/// The wait was cancelled by this process, which shows nothing about the server.
class Cancelled : public IoError {
 public:
  Cancelled() : IoError(Errc::timed_out, "the connection was not waited for any longer") {}
};

}  // namespace redlatch::detail
