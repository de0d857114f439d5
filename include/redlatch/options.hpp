#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include <redlatch/event.hpp>

namespace redlatch {

/// How a `Client` reaches its server. Checked once, by the client's constructor: a time-out that is
/// not positive, or no connection at all, throws `Errc::invalid_argument`.
struct ClientOptions {
  /// For looking the host name up, connecting and logging in, in milliseconds. Where the system's
  /// resolver hangs or fails, the addresses that it gave last serve meanwhile. Of a name with
  /// several addresses, the next one is tried after at most 250 ms.
  std::chrono::milliseconds connect_timeout{1000};
  /// From the call to the reply, in milliseconds; connecting is not counted.
  std::chrono::milliseconds command_timeout{500};
  /// Upper bound on the connections that carry commands. Threads share them, and each key always
  /// uses the same one. Locks with `durability` use as many others.
  std::size_t connections = 4;
  /// Shown by CLIENT LIST at the server; empty: none. No spaces, newlines or other control
  /// characters.
  std::string client_name{};
  /// False: no script is ever sent. Releasing and extending use the server's own conditional
  /// commands where it has them and WATCH/MULTI/EXEC where it has not.
  bool scripting = true;
  /// So long a caller that waits for an answer looks for it again and again, letting other threads
  /// run in between, before it sleeps; in microseconds. Saves the time that waking up takes where
  /// there is a core to spare, and costs processor time where there is none. Not negative, else
  /// `Errc::invalid_argument`; never longer than the answer is waited for.
  std::chrono::microseconds busy_poll{0};
  /// Told what happens to locks and connections, on a thread of the client and with none of its
  /// mutexes held: everything may be called from it. One call at a time, in order. A loss is told
  /// at once, what goes well within about 50 ms. While 10,000 events wait for the program, further
  /// good news is dropped, and beyond 20,000 everything is; `Metrics::events_dropped` counts what
  /// was. What is told behind it waits while it runs, the loss of a lock included; renewals do not.
  /// Must not throw: that ends the program.
  std::function<void(const Event&)> on_event{};
};

/// Where a lock has to have got to before it counts as acquired. `Errc::no_quorum`, with nothing
/// left held, when it has not in time.
struct Durability {
  /// So many replicas have it (WAIT). A failover to one of them does not forget it then.
  int replicas = 0;
  /// The server has it on disk (WAITAOF, from Redis 7.2 on): a restart does not forget it, not even
  /// one of the machine. Needs `appendonly yes` there, else `Errc::protocol_error`;
  /// `Errc::unsupported` where the command is missing.
  bool aof = false;
  /// How long to wait for that, in milliseconds, on top of `command_timeout`.
  std::chrono::milliseconds timeout{1000};

  /// Member by member.
  bool operator==(const Durability&) const = default;
};

/// Who may hold a `RecursiveLock` several times: all that name the same owner, in any thread,
/// process or host.
struct Owner {
  /// From 1 to 256 bytes without spaces and control characters, else `Errc::invalid_argument`.
  std::string name;
};

/// What a lock asks of the server. Checked once, by the lock's constructor.
struct LockOptions {
  /// The lease: the server forgets the lock this long after it was taken or extended, in
  /// milliseconds. At least 10 ms, else `Errc::invalid_argument`. Long enough for the guarded work,
  /// short enough to wait out when a holder dies.
  std::chrono::milliseconds ttl{10'000};
  /// Extended in the background each time that about a third of the ttl is over (up to a thirtieth
  /// of the ttl sooner), until the lock is released or lost.
  bool auto_renew = true;
  /// No more of that once the lock has been held for so long, in milliseconds: a guard against work
  /// that hangs. 0: no limit; negative: `Errc::invalid_argument`.
  std::chrono::milliseconds max_hold{0};
  /// Draws a fencing token with each acquisition: `fencing_token()`, which says what could make the
  /// numbers repeat. With failovers, keep the clocks of the servers in step, and use
  /// `durability.replicas`, so that the replicas have the counter. Needs scripts; where the client
  /// may not send any, `Errc::unsupported`.
  bool fencing = false;
  /// Who holds the lock, for people who look at the server: stored behind the token, with a space
  /// in between. At most 1,024 bytes without control characters, else `Errc::invalid_argument`.
  std::string label{};
  /// Nothing by default: a lock is lost with a server that restarts or fails over right after it
  /// was acquired. Renewals are not waited for.
  Durability durability{};
};

}  // namespace redlatch
