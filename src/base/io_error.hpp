#pragma once

#include <stdexcept>
#include <string>

#include <redlatch/error.hpp>

namespace redlatch::detail {

/// What went wrong on one connection, before it is known which lock it was for.
class IoError : public std::runtime_error {
 public:
  IoError(Errc code, const std::string& text) : std::runtime_error(text), code_(code) {}

  Errc code() const noexcept { return code_; }

 private:
  Errc code_;
};

/// Whoever was waiting for an answer has something else to do: that says nothing about the server.
class Cancelled : public IoError {
 public:
  Cancelled() : IoError(Errc::timed_out, "the connection was not waited for any longer") {}
};

}  // namespace redlatch::detail
