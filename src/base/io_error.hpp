#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include <redlatch/detail/event_record.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// An error of one connection, where the lock that it concerns is not known.
class IoError : public std::runtime_error {
 public:
  IoError(Errc code, const std::string& text) : std::runtime_error(text), code_(code) {}

  Errc code() const noexcept { return code_; }
  /// For an event; refers to the text of this error.
  Failure failure() const noexcept { return {make_error_code(code_), what()}; }

 private:
  Errc code_;
};

/// Whether the server was not reached, or has not answered: unlike a refusal, another attempt, or
/// another address, may be better.
constexpr bool is_outage(Errc code) noexcept {
  return code == Errc::unreachable || code == Errc::timed_out;
}

/// Why a connection to a server is left that is healthy: Sentinel has another one for the primary.
inline constexpr std::string_view another_is_primary = "another server is the primary now";

/// What an error reply means, for an event; empty if there is no memory for it.
inline std::string explanation_of(const protocol::Reply& error_reply) noexcept {
  try {
    return protocol::explain(error_reply.text);
  } catch (const std::bad_alloc&) {
    return {};
  }
}

/// In a handler of exceptions: how an error says what a function of the program has thrown.
inline std::string what_was_thrown() {
  try {
    throw;
  } catch (const std::exception& error) {
    return std::string("has thrown: ") + error.what();
  } catch (...) {
    return "has thrown no std::exception";
  }
}

/// The wait was cancelled by this process, which shows nothing about the server.
class Cancelled : public IoError {
 public:
  Cancelled() : IoError(Errc::timed_out, "the connection was not waited for any longer") {}
};

}  // namespace redlatch::detail
