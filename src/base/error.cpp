#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include <redlatch/error.hpp>

namespace redlatch {
namespace {

constexpr const char* category_name = "redlatch";

/// By name: a plugin and its host can have a copy of the library each, and so a category each.
bool is_ours(const std::error_category& category) noexcept {
  return category.name() == std::string_view(category_name);
}

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return category_name; }

  bool equivalent(int code, const std::error_condition& condition) const noexcept override {
    return condition.value() == code && is_ours(condition.category());
  }

  bool equivalent(const std::error_code& code, int condition) const noexcept override {
    return code.value() == condition && is_ours(code.category());
  }

  std::string message(int code) const override {
    switch (static_cast<Errc>(code)) {
      case Errc::unreachable:
        return "server unreachable";
      case Errc::timed_out:
        return "timed out";
      case Errc::authentication_failed:
        return "authentication failed";
      case Errc::not_permitted:
        return "not permitted";
      case Errc::not_writable:
        return "server cannot write now";
      case Errc::wrong_type:
        return "key of another type";
      case Errc::protocol_error:
        return "unexpected answer";
      case Errc::no_quorum:
        return "no quorum";
      case Errc::unsupported:
        return "not supported";
      case Errc::invalid_argument:
        return "invalid argument";
    }
    return "unknown redlatch error";
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  // Never destroyed: a static client may fail at exit.
  alignas(Category) static std::array<std::byte, sizeof(Category)> place;
  static const Category& category = *new (place.data()) Category;
  return category;
}

std::error_code make_error_code(Errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

bool operator==(const std::error_code& code, Errc value) noexcept {
  return code.value() == static_cast<int>(value) && is_ours(code.category());
}

Error::Error(Errc code, const std::string& what, std::string server, bool in_doubt)
    : std::system_error(make_error_code(code), "redlatch: " + what),
      server_(std::make_shared<const std::string>(std::move(server))),
      in_doubt_(in_doubt) {}

bool Error::transient() const noexcept {
  return code() == Errc::unreachable || code() == Errc::timed_out || code() == Errc::not_writable ||
         code() == Errc::no_quorum;
}

}  // namespace redlatch
