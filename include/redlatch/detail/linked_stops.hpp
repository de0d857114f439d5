#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <forward_list>
#include <memory>
#include <stop_token>
#include <utility>

namespace redlatch::detail {

/// A stop source that is stopped when the first of two other stop tokens is, by a callback with
/// each of them. It needs no thread: its own callbacks run where that stop is requested.
///
/// The owner may cut it at any time, also from one of these callbacks, and never waits for them:
/// a link that is cut while its callbacks run is deleted by the thread that runs them.
class LinkedStop {
 public:
  LinkedStop(const std::stop_token& lost, std::stop_token other)
      : other_(std::move(other)), on_lost_(lost, Relay{this}), on_other_(other_, Relay{this}) {}
  LinkedStop(const LinkedStop&) = delete;
  LinkedStop& operator=(const LinkedStop&) = delete;

  const std::stop_token& other() const noexcept { return other_; }
  std::stop_token token() const noexcept { return source_.get_token(); }
  bool is_done() const noexcept { return state_ == State::done; }
  /// The tokens are not followed any more; ends the object.
  void cut() noexcept {
    if (state_.exchange(State::cut) != State::stopping) delete this;
  }

 private:
  /// `linked` at first; `stopping` from when one of the tokens is stopped until the callbacks have
  /// returned; `done` from then on; `cut` from when the owner has cut it.
  enum class State { linked, stopping, done, cut };
  struct Relay {
    LinkedStop* link;
    void operator()() const noexcept { link->stop(); }
  };

  ~LinkedStop() = default;

  void stop() noexcept {
    State expected = State::linked;
    if (!state_.compare_exchange_strong(expected, State::stopping)) return;
    source_.request_stop();
    if (state_.exchange(State::done) == State::cut) delete this;
  }

  std::atomic<State> state_ = State::linked;
  std::stop_source source_{};
  const std::stop_token other_;
  // Last, as the destructor of a callback waits for one that runs in another thread, which finds
  // `state_` changed and returns at once.
  std::stop_callback<Relay> on_lost_;
  std::stop_callback<Relay> on_other_;
};

/// The links of one lease. Cuts them at its end.
class LinkedStops {
 public:
  LinkedStops() = default;
  LinkedStops(LinkedStops&& other) noexcept
      : links_(std::move(other.links_)), process_(other.process_) {}
  LinkedStops(const LinkedStops&) = delete;
  LinkedStops& operator=(const LinkedStops&) = delete;
  LinkedStops& operator=(LinkedStops&&) = delete;
  ~LinkedStops() { cut(); }

  /// A token that is stopped when `lost` or `other` is: the same one for the same `other`, so that
  /// a loop may ask again and again. Throws `std::bad_alloc`.
  std::stop_token link(const std::stop_token& lost, std::stop_token other) {
    const auto found = std::find_if(links_.begin(), links_.end(),
                                    [&](const Link& link) { return link->other() == other; });
    if (found != links_.end()) return (*found)->token();
    links_.remove_if([](const Link& link) { return link->is_done(); });
    links_.emplace_front(new LinkedStop(lost, std::move(other)));
    process_ = ::getpid();
    return links_.front()->token();
  }

  /// In a forked child the links are leaked: a thread of the parent may have been changing the list
  /// of callbacks of a token, and would never be done in the child.
  void cut() noexcept {
    if (links_.empty()) return;
    if (process_ != ::getpid()) {
      for (Link& link : links_) static_cast<void>(link.release());
    }
    links_.clear();
  }

 private:
  struct Cut {
    void operator()(LinkedStop* link) const noexcept { link->cut(); }
  };
  using Link = std::unique_ptr<LinkedStop, Cut>;

  std::forward_list<Link> links_{};
  pid_t process_ = 0;
};

}  // namespace redlatch::detail
