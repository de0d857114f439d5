#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <redlatch/error.hpp>
#include <redlatch/protocol/shared.hpp>

namespace redlatch::protocol {

/// One of at most `limit` holders. The limit is the owner tag.
class Permit : public Shared {
 public:
  Permit(std::string key, std::int64_t limit, bool fencing)
      : Shared(std::move(key)), owner_tag_(std::to_string(limit)) {
    if (limit < 1 || limit > 1'000'000) {
      throw Error(Errc::invalid_argument,
                  "a limit of " + owner_tag_ + " cannot work; use 1 to 1,000,000");
    }
    refuse_fencing(fencing, "a permit");
  }

  const std::string& owner_tag() const noexcept { return owner_tag_; }

 private:
  std::string owner_tag_;
};

}  // namespace redlatch::protocol
