#include "client/quorum_ids.hpp"

#include <cassert>
#include <cstddef>
#include <string_view>

#include <redlatch/error.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {

// Refuses the connection of the second of two URLs that lead to one server. Acquisitions throw from
// then on, by `require_distinct`, until a new connection of one of the URLs leads elsewhere.
void DistinctServers::admit(std::size_t url, std::string_view id) {
  const MutexLock lock(mutex_);
  assert(url < ids_.size());
  if (!id.empty()) ids_[url] = id;
  std::size_t same = url;
  bool has_double = false;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    for (std::size_t j = i + 1; j < ids_.size(); ++j) has_double |= are_same(i, j);
    if (i != url && are_same(i, url)) same = i;
  }
  has_double_ = has_double;
  if (same == url) return;
  throw IoError(Errc::invalid_argument,
                "it is the same server as " + names_[same] + ", and has one voice in a quorum");
}

void DistinctServers::require_distinct() const {
  if (!has_double_) return;
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    for (std::size_t j = i + 1; j < ids_.size(); ++j) {
      if (!are_same(i, j)) continue;
      throw Error(Errc::invalid_argument,
                  names_[i] + " and " + names_[j] +
                      " lead to one server, which has one voice in a quorum; name servers that are "
                      "independent of each other");
    }
  }
}

}  // namespace redlatch::detail
