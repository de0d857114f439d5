#pragma once

#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/event_record.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"

namespace redlatch::detail {

/// What a multiplexer cannot finish by itself, as it calls nothing: its shared connection hands it
/// on. The nodes of the list are those in which the requests were sent, so that it allocates
/// nothing.
struct Leftovers {
  /// Releases and renewals that have ended here, each with its `ending`, in the order of their
  /// ends.
  PendingRequests requests{};
  /// Releases to be sent again when they are due.
  PendingRequests to_repeat{};

  /// How a connection is to be left.
  enum class Parting {
    close,    // it is of no use any more
    discard,  // what the system has not sent yet must never arrive
    retire    // its remaining replies are to be read
  };
  struct Disconnection {
    Parting parting;
    TimePoint since;  // when it was connected
    std::error_code why;
    bool outdated = false;  // its server is not a primary: others may lead there, too
    bool moved = false;     // the topology knows another primary
    Pipeline retired{};
  };
  std::optional<Disconnection> disconnection{};

  /// The replies by which a node of a cluster has redirected requests.
  std::vector<std::string> redirects{};

  /// The last error of the connection, whose text belongs to the failures with its code.
  std::error_code explained{};
  std::string explanation{};

  /// Without memory, the code has to do.
  void explain(std::error_code why, std::string_view text) noexcept {
    try {
      explanation = text;
      explained = why;
    } catch (const std::bad_alloc&) {
      explained = {};
    }
  }
  /// Refers to the text of this object.
  Failure failure(std::error_code why) const noexcept {
    return {why, why == explained ? std::string_view(explanation) : std::string_view()};
  }

  bool empty() const noexcept {
    return requests.empty() && to_repeat.empty() && !disconnection.has_value() && redirects.empty();
  }
};

}  // namespace redlatch::detail
