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

}  // namespace redlatch::detail
