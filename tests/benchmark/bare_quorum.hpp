#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "window.hpp"

struct redisContext;

namespace redlatch::benchmark {

/// The least that asking several servers at once can cost: commands that are written down
/// beforehand, one poll(2) for all, and no look at the answers but to count them. It is no lock:
/// every answer counts as a yes.
class BareQuorum final : public Worker {
 public:
  explicit BareQuorum(const std::vector<std::uint16_t>& ports);

  void acquire() override { ask(acquire_); }
  void release() override { ask(release_); }

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept;
  };
  struct Peer {
    std::unique_ptr<redisContext, Free> context;
    std::size_t owed = 0;  // answers
  };

  void ask(const std::string& command);
  void take_in(std::size_t index);

  std::string acquire_;
  std::string release_;
  std::vector<Peer> peers_{};
  std::vector<pollfd> watched_{};
};

}  // namespace redlatch::benchmark
