#pragma once

#include <poll.h>

#include <chrono>
#include <functional>
#include <list>
#include <vector>

#include <redlatch/detail/clock.hpp>

#include "exchange.hpp"
#include "pipeline.hpp"

namespace redlatch::detail {

/// Connections that a server leaves unanswered for too long. They are used for nothing else any
/// more, and kept until the releases on them are answered, or the leases over. Releases that have
/// to be said elsewhere are handed back, or put into `open`.
class RetiredConnections {
 public:
  using Note = std::function<void(const Release&, Fate)>;

  bool empty() const noexcept { return all_.empty(); }
  Exchanges adopt(Pipeline pipeline) noexcept;
  /// Takes in what has come, without waiting. What has ended is told to `note`.
  void take_in(Exchanges& open, std::chrono::milliseconds settling, const Note& note);
  Exchanges close() noexcept;
  /// In a forked child: without a word to the server.
  void abandon() noexcept;

  /// When the first of them is over by itself.
  TimePoint until() const noexcept;
  void watch(std::vector<pollfd>& descriptors) const;

 private:
  struct Retired {
    Pipeline pipeline;
    TimePoint until;
  };

  static Exchanges lose(Pipeline& pipeline) noexcept;
  static bool is_over(Retired& one, std::chrono::milliseconds settling, const Note& note,
                      Exchanges& open);

  std::list<Retired> all_{};
};

}  // namespace redlatch::detail
