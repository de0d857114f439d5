#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <redlatch/detail/answers.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/finally.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/error.hpp>
#include <redlatch/token.hpp>

namespace redlatch::detail {

/// What an attempt asks besides for the lock.
enum class Look { no, at_life, at_life_and_kind };

struct Attempt {
  bool held = false;
  std::optional<TimePoint::duration> life{};  // of the holder's lease, where it is known
};

/// One lease at a time, and the exchanges about it: each says one thing to the servers and draws
/// the conclusion. When to say what is `BasicLock`'s business.
template <class Protocol>
class Holding {
 public:
  Holding(std::shared_ptr<Executor> executor, Protocol protocol)
      : executor_(std::move(executor)), protocol_(std::move(protocol)) {}

  /// The other keeps its executor, so that it can still be asked, and holds nothing.
  Holding(Holding&& other) noexcept
      : executor_(other.executor_),
        protocol_(std::move(other.protocol_)),
        lease_(std::exchange(other.lease_, {})) {}
  Holding& operator=(Holding&& other) noexcept {
    executor_ = other.executor_;
    protocol_ = std::move(other.protocol_);
    lease_ = std::exchange(other.lease_, {});
    return *this;
  }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  ~Holding() = default;

  Executor& executor() const noexcept { return *executor_; }
  const Protocol& protocol() const noexcept { return protocol_; }
  const Lease& lease() const noexcept { return lease_; }

  /// Whether there is something to release, valid or not.
  bool exists() const noexcept { return lease_.exists(executor_->process()); }
  bool valid(TimePoint now) const noexcept { return lease_.valid(now, executor_->process()); }

  /// Asks for a lease with a token of its own. Throws `Error` when the answer is neither yes nor
  /// no; what may be left at a server then is taken back.
  Attempt attempt(std::chrono::milliseconds ttl, Look look) {
    Lease lease(make_token(), executor_->process());
    const Undo undo{protocol_.release(lease.token()), ttl};
    const std::array commands{protocol_.acquire(lease.token(), ttl), protocol_.life(),
                              protocol_.kind()};
    const Answers answers =
        ask(std::span(commands).first(1 + static_cast<std::size_t>(look)), &undo);
    const protocol::Verdict verdict = answers.verdict(protocol::verdict);
    if (verdict == protocol::Verdict::yes) {
      lease.confirm(answers.sent(), ttl);
      if (lease.valid(executor_->now(), executor_->process())) {
        lease_ = std::move(lease);
        return {.held = true};
      }
    }
    if (answers.may_have_acted()) executor_->post(protocol_.key(), undo);
    if (verdict == protocol::Verdict::yes) {
      throw protocol::about(Errc::timed_out, protocol_.key(), executor_->server(0),
                            "the answer came after the lease was over; use a longer ttl", true);
    }
    if (verdict == protocol::Verdict::refused) throw answers.error(protocol_.key());
    if (const auto* kind = answers.reply(2); kind != nullptr && !Protocol::is_lock(*kind)) {
      throw protocol::about(
          Errc::wrong_type, protocol_.key(), executor_->server(0),
          "the key holds a " + kind->text + ", which is not a lock; use another key or delete it");
    }
    return {.life = life_in(answers.reply(1))};
  }

  /// Loses the lease when a server says that it is not ours any more. Throws `Error` when none says
  /// anything; the lease is valid for as long as is certain then.
  void extend(std::chrono::milliseconds ttl) {
    const protocol::Command extension = protocol_.extend(lease_.token(), ttl);
    // Whatever ends this before the answer is known, memory running out included, leaves a doubt.
    bool doubted = true;
    const Finally doubt([&, since = executor_->now()] {
      if (doubted) lease_.doubt(since, ttl);
    });
    const Answers answers = ask({&extension, 1});
    const protocol::Verdict verdict = answers.verdict(ours);
    doubted =
        verdict == protocol::Verdict::refused && (answers.in_doubt() || answers.may_have_acted());
    if (verdict == protocol::Verdict::yes) lease_.confirm(answers.sent(), ttl);
    if (verdict == protocol::Verdict::no) lease_.lose();
    if (verdict == protocol::Verdict::refused) throw answers.error(protocol_.key());
  }

  /// Loses the lease when the server does not have its token any more. Throws as `extend` does.
  void verify() {
    const protocol::Command question = protocol_.holder();
    const Answers answers = ask({&question, 1});
    const auto read = [&](const protocol::Reply& reply) {
      if (reply.is_error()) return ours(reply);
      return Protocol::holds(reply, lease_.token()) ? protocol::Verdict::yes
                                                    : protocol::Verdict::no;
    };
    switch (answers.verdict(read)) {
      case protocol::Verdict::yes:
        return;
      case protocol::Verdict::no:
        return lease_.lose();
      case protocol::Verdict::refused:
        throw answers.error(protocol_.key());
    }
  }

  /// Gives the lease up and waits for the answer; there is no lease afterwards. `refused`: not
  /// answered, and left to the background.
  protocol::Verdict release() noexcept {
    Lease lease = std::exchange(lease_, {});
    const Undo release{protocol_.release(lease.token()), lease.longest_ttl()};
    protocol::Verdict verdict = protocol::Verdict::refused;
    try {
      verdict = ask({&release.command, 1}, nullptr, Connecting::counted).verdict(ours);
    } catch (const std::exception&) {
      // Out of memory, say: the release is as open as after a time-out.
    }
    if (verdict == protocol::Verdict::refused) executor_->post(protocol_.key(), release);
    recycle_token(std::move(lease).token());
    return verdict;
  }

  /// Gives the lease up and waits for nothing; there is no lease afterwards.
  void drop() noexcept {
    const Undo::Of of = valid(executor_->now()) ? Undo::Of::lease : Undo::Of::ended_lease;
    Lease lease = std::exchange(lease_, {});
    executor_->post(protocol_.key(), {protocol_.release(lease.token()), lease.longest_ttl(), of});
    recycle_token(std::move(lease).token());
  }

 private:
  Answers ask(std::span<const protocol::Command> commands, const Undo* undo = nullptr,
              Connecting connecting = Connecting::on_top) const {
    return Answers(*executor_, {.key = protocol_.key(), .commands = commands, .undo = undo},
                   connecting);
  }

  /// A key of another kind is not ours, which is all that release, extend and verify want to know.
  static protocol::Verdict ours(const protocol::Reply& reply) noexcept {
    if (reply.is_error() && protocol::classify(reply.text) == Errc::wrong_type) {
      return protocol::Verdict::no;
    }
    return protocol::verdict(reply);
  }

  static std::optional<TimePoint::duration> life_in(const protocol::Reply* reply) noexcept {
    // PTTL: -1 for a key without expiry, -2 for one that has gone meanwhile.
    if (reply == nullptr || reply->kind != protocol::Reply::Kind::integer || reply->integer == -1) {
      return std::nullopt;
    }
    return std::chrono::milliseconds(std::max<std::int64_t>(reply->integer, 0));
  }

  std::shared_ptr<Executor> executor_;
  Protocol protocol_;
  Lease lease_{};
};

}  // namespace redlatch::detail
