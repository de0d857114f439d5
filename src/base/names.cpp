// The names of the enumerators of the public enumerations.

#include <ostream>
#include <string_view>
#include <system_error>

#include <redlatch/basic_lock.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>

namespace redlatch {

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::unreachable:
      return "unreachable";
    case Errc::timed_out:
      return "timed_out";
    case Errc::authentication_failed:
      return "authentication_failed";
    case Errc::not_permitted:
      return "not_permitted";
    case Errc::not_writable:
      return "not_writable";
    case Errc::wrong_type:
      return "wrong_type";
    case Errc::protocol_error:
      return "protocol_error";
    case Errc::no_quorum:
      return "no_quorum";
    case Errc::unsupported:
      return "unsupported";
    case Errc::invalid_argument:
      return "invalid_argument";
  }
  return "?";
}

std::string_view to_string(const std::error_code& code) noexcept {
  if (!code) return "";
  if (code == static_cast<Errc>(code.value())) return to_string(static_cast<Errc>(code.value()));
  if (code == std::errc::not_enough_memory) return "not_enough_memory";
  if (code == std::errc::resource_deadlock_would_occur) return "resource_deadlock_would_occur";
  return "?";
}

std::string_view to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::acquired:
      return "acquired";
    case EventKind::contended:
      return "contended";
    case EventKind::renewed:
      return "renewed";
    case EventKind::renewal_failed:
      return "renewal_failed";
    case EventKind::lost:
      return "lost";
    case EventKind::released:
      return "released";
    case EventKind::release_unknown:
      return "release_unknown";
    case EventKind::connected:
      return "connected";
    case EventKind::disconnected:
      return "disconnected";
    case EventKind::connect_failed:
      return "connect_failed";
    case EventKind::attempt_failed:
      return "attempt_failed";
  }
  return "?";
}

std::string_view to_string(Unlock outcome) noexcept {
  switch (outcome) {
    case Unlock::released:
      return "released";
    case Unlock::lost:
      return "lost";
    case Unlock::unknown:
      return "unknown";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, Errc code) { return out << to_string(code); }
std::ostream& operator<<(std::ostream& out, EventKind kind) { return out << to_string(kind); }
std::ostream& operator<<(std::ostream& out, Unlock outcome) { return out << to_string(outcome); }

}  // namespace redlatch
