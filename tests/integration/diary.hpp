#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {

/// Keeps what `ClientOptions::on_event` is told, or some of it. Outlives the client.
class Diary {
 public:
  using Wanted = bool (*)(const Event&);

  explicit Diary(Wanted wanted = [](const Event&) { return true; }) : wanted_(wanted) {}

  ClientOptions options(ClientOptions with = patient()) {
    with.on_event = [this](const Event& event) {
      if (!wanted_(event)) return;
      const std::lock_guard guard(mutex_);
      events_.push_back(event);
    };
    return with;
  }

  std::vector<Event> events() const {
    const std::lock_guard guard(mutex_);
    return events_;
  }
  std::vector<EventKind> kinds() const {
    std::vector<EventKind> all;
    for (const Event& event : events()) all.push_back(event.kind);
    return all;
  }
  std::optional<Event> find(EventKind kind) const {
    for (const Event& event : events()) {
      if (event.kind == kind) return event;
    }
    return std::nullopt;
  }
  /// The first entry, as soon as there is one.
  Event first() const {
    if (!eventually([&] { return !events().empty(); })) ADD_FAILURE() << "nothing was told";
    return events().empty() ? Event{} : events().front();
  }

 private:
  const Wanted wanted_;
  mutable std::mutex mutex_{};
  std::vector<Event> events_{};
};

}  // namespace redlatch::test
