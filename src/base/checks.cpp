#include <algorithm>
#include <string>

#include <redlatch/detail/checks.hpp>
#include <redlatch/error.hpp>

namespace redlatch::detail {
namespace {

// No time may be longer than a century: `TimePoint` counts nanoseconds in 64 bits, which are 292
// years, so that no sum of a time and now, or of two times, overflows.

[[noreturn]] void refuse(const std::string& what) { throw Error(Errc::invalid_argument, what); }

std::string text(std::chrono::milliseconds time) { return std::to_string(time.count()) + " ms"; }

// A label is a part of the value, and goes out with each command about the lock. The value is a
// line of the messages to waiters, so it must not have a line break.
void check_label(const std::string& label) {
  if (std::any_of(label.begin(), label.end(),
                  [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; })) {
    refuse("the label has a control character; leave it out");
  }
  if (label.size() > 1024) refuse("the label is longer than 1,024 bytes; use a shorter one");
}

void check_durability(const Durability& durability) {
  if (durability.replicas < 0) refuse("durability.replicas is negative; use 0 for none");
  if (durability.timeout < std::chrono::milliseconds::zero() ||
      durability.timeout > std::chrono::hours(24)) {
    refuse("durability.timeout must be from 0 to 24 h");
  }
}

// The key has to last for `min_hold` while the lock is held, by its ttl or by renewals; afterwards
// the release sees to that.
void check_min_hold(const LockOptions& options, bool has_min_hold) {
  const std::chrono::milliseconds time = options.min_hold;
  if (time == std::chrono::milliseconds::zero()) return;
  if (time < std::chrono::milliseconds::zero() || time > std::chrono::years(100)) {
    refuse("a min_hold of " + text(time) + " cannot work; use 0 (none) to 100 years");
  }
  if (!has_min_hold) {
    throw Error(Errc::unsupported,
                "min_hold is for Lock and FairLock only; use one of them, or leave min_hold out");
  }
  if (time > options.ttl && !options.auto_renew) {
    refuse("a min_hold of " + text(time) + " is longer than the ttl of " + text(options.ttl) +
           ", and auto_renew is false; use a longer ttl");
  }
  const bool is_renewed_for_less =
      options.max_hold > std::chrono::milliseconds::zero() && options.max_hold < time;
  if (time > options.ttl && is_renewed_for_less) {
    refuse("a min_hold of " + text(time) + " is longer than the ttl of " + text(options.ttl) +
           ", and than max_hold, after which renewals end; use a longer ttl");
  }
}

}  // namespace

// The margin for drift takes 2 ms and 1 % of a ttl, so less than 10 ms leaves nothing for the work
// once the answer has come.
void check_ttl(std::chrono::milliseconds ttl) {
  if (ttl < std::chrono::milliseconds(10) || ttl > std::chrono::years(100)) {
    refuse("a ttl of " + text(ttl) + " cannot work; use 10 ms to 100 years");
  }
}

void check(const LockOptions& options, const Demands& demands) {
  check_ttl(options.ttl);
  check_label(options.label);
  check_durability(options.durability);
  check_min_hold(options, demands.min_hold);
  if (demands.scripts && !demands.scripting) {
    throw Error(Errc::unsupported,
                "this kind of a lock needs scripts; set ClientOptions::scripting to true, or use a "
                "Lock");
  }
  if (demands.several_servers &&
      options.durability != Durability{.timeout = options.durability.timeout}) {
    throw Error(Errc::unsupported,
                "durability is not for a lock on several servers; let each of them write to its "
                "disk before it answers");
  }
  if (options.fencing && !demands.scripting) {
    throw Error(Errc::unsupported,
                "fencing needs scripts; set ClientOptions::scripting to true, or fencing to false");
  }
  if (options.max_hold < std::chrono::milliseconds::zero() ||
      options.max_hold > std::chrono::years(100)) {
    refuse("a max_hold of " + text(options.max_hold) + " cannot work; use 0 (none) to 100 years");
  }
}

}  // namespace redlatch::detail
