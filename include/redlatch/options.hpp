#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <redlatch/event.hpp>

namespace redlatch {

/// A user of the server, and the password.
struct Credentials {
  /// Empty: the server's default user.
  std::string user{};
  /// Not empty, else `Errc::authentication_failed`: a connection without a password would be that
  /// of the default user.
  std::string password{};
};

/// How TLS connections are made: the files are PEM, and are read when the client is made.
struct TlsOptions {
  /// The certificates of the issuers that are trusted, in a file or in a directory as made by
  /// `openssl rehash`. Both empty: those that the system trusts.
  std::string ca_file{};
  /// See `ca_file`.
  std::string ca_dir{};
  /// The client's own certificate, with those of its issuers behind it, for a server that asks for
  /// one.
  std::string certificate{};
  /// The private key of `certificate`.
  std::string key{};
  /// The name or IP address that the server's certificate has to be for, and that is sent to the
  /// server (SNI) if it is a name. Empty: the host of the URL.
  std::string server_name{};
  /// False: any certificate is accepted, so that a machine in between can read and change what is
  /// sent. For tests.
  bool verify = true;

  /// Compares all members.
  bool operator==(const TlsOptions&) const = default;
};

/// Where a server can be reached.
struct Address {
  /// A host name, or an IPv4 or IPv6 address without brackets.
  std::string host{};
  /// 1 to 65535.
  std::uint16_t port = 0;

  /// Compares both members.
  bool operator==(const Address&) const = default;
};

/// How the Sentinels of a `redis-sentinel://` URL are asked.
struct SentinelOptions {
  /// The user at the Sentinels, and the password there; both empty: none. User and password of the
  /// URL, and `ClientOptions::credentials`, are for the servers that hold the locks.
  std::string user{};
  /// See `user`.
  std::string password{};
  /// For the Sentinels of a `rediss-sentinel://` URL. Left as it is: `ClientOptions::tls`. The
  /// certificate of a Sentinel has to be for its host in the URL, or for its address as the other
  /// Sentinels know it.
  TlsOptions tls{};
};

/// How a `Client` uses its server. The client's constructor checks the options, and throws
/// `Errc::invalid_argument` for a time-out that is not positive, no connections, or another value
/// that cannot work.
struct ClientOptions {
  /// For host name resolution, connecting and log-in together, in milliseconds. If the system's
  /// resolver hangs or fails, the addresses of its last answer are used. If a name has several
  /// addresses, the next is tried after 250 ms at most.
  std::chrono::milliseconds connect_timeout{1000};
  /// From the call to the reply, in milliseconds. Time spent on connecting does not count.
  std::chrono::milliseconds command_timeout{500};
  /// The maximum number of connections for commands. Threads share them, and a key keeps its
  /// connection while anything about it is held or unanswered. Locks with `durability` use up to as
  /// many further ones.
  std::size_t connections = 4;
  /// The name of the connections in the server's CLIENT LIST; empty: none. Without spaces, newlines
  /// and other control characters, else `Errc::invalid_argument`.
  std::string client_name{};
  /// False: no script is ever sent. Locks are released and extended by the server's conditional
  /// commands if it has them, else by WATCH/MULTI/EXEC.
  bool scripting = true;
  /// How long a call polls for a reply before it sleeps, in microseconds, yielding to other threads
  /// in between; at most until its deadline. Saves the latency of a wake-up if a core is idle, and
  /// costs processor time if none is. Negative: `Errc::invalid_argument`.
  std::chrono::microseconds busy_poll{0};
  /// For the servers of a URL with `rediss://` or `rediss-sentinel://`.
  TlsOptions tls{};
  /// For the Sentinels of a URL with `redis-sentinel://` or `rediss-sentinel://`.
  SentinelOptions sentinel{};
  /// Called for each log-in instead of taking user and password from the URL, for passwords that
  /// change, such as tokens of cloud services. It may take `connect_timeout`, together with the
  /// rest of the log-in, and delays no renewal on other connections: it runs on a thread of its
  /// own, one call at a time. That thread is not waited for at the end of the client, so the
  /// function must own what it uses. What it throws ends in `Errc::authentication_failed` with the
  /// exception's text.
  std::function<Credentials()> credentials{};
  /// Translates an address that a Sentinel or a node of a cluster gives, of a server or of another
  /// Sentinel, into one that this program can reach, for instance out of a network with address
  /// translation. Called for each answer of a Sentinel or a node, on threads of its own that are
  /// not waited for at the end of the client, and perhaps on several at once, so the function must
  /// own what it uses. What it throws makes the answer useless: if no other one is of use, the
  /// attempt to connect ends in `Errc::unreachable` with the exception's text. Empty: addresses are
  /// used as they are given.
  std::function<Address(const Address&)> map_address{};
  /// Called for each event of a lock or a connection, on a thread of the client, one call at a time
  /// and in order. None of the client's mutexes is held, so it may call everything. A loss is
  /// delivered at once, a success within about 50 ms. While it runs, later events and loss notices
  /// wait, but renewals do not. While 10,000 events are pending, further successes are dropped, and
  /// beyond 20,000 all events are; `Metrics::events_dropped` counts them. An exception from it ends
  /// the program.
  std::function<void(const Event&)> on_event{};
};

/// Where a lock must be stored before it counts as acquired. If that takes longer than `timeout`,
/// the acquisition throws `Errc::no_quorum` and leaves nothing held; a wait with
/// `LockOptions::ride_out` tries again.
struct Durability {
  /// The number of replicas that must have it (WAIT). A failover to one of these keeps the lock.
  int replicas = 0;
  /// Whether the server must have it on disk (WAITAOF, from Redis 7.2 on), so that a restart, even
  /// of the machine, keeps the lock. Needs `appendonly yes` at the server, else
  /// `Errc::protocol_error`; `Errc::unsupported` if the command is missing.
  bool aof = false;
  /// The maximum wait for both, in milliseconds, on top of `command_timeout`.
  std::chrono::milliseconds timeout{1000};

  /// Compares all members.
  bool operator==(const Durability&) const = default;
};

/// The owner of a `RecursiveLock`: locks that name the same owner may hold the key at the same
/// time, in any thread, process or host.
struct Owner {
  /// 1 to 256 bytes without spaces and control characters, else `Errc::invalid_argument`.
  std::string name;
};

/// The properties of a lock. The lock's constructor checks them. Times are whole milliseconds, of
/// any unit that converts to them, as 30s or 500ms; 0.5s and 1500us do not compile.
struct LockOptions {
  /// The length of the lease, in milliseconds: the server removes the lock this long after it was
  /// acquired or extended. At least 10 ms, else `Errc::invalid_argument`. Choose it long enough for
  /// the guarded work, and short enough to wait for when a holder dies.
  std::chrono::milliseconds ttl{10'000};
  /// Whether the background extends the lease each time that about a third of the ttl has passed
  /// (up to a thirtieth of the ttl earlier), until the lock is released or lost.
  bool auto_renew = true;
  /// Renewals end when the lock has been held for this long, in milliseconds: a guard against work
  /// that hangs. 0: no limit; negative: `Errc::invalid_argument`.
  std::chrono::milliseconds max_hold{0};
  /// Whether each acquisition draws a fencing token: see `BasicLock::fencing_token()`, also for
  /// what could make numbers repeat. If there are failovers, synchronise the clocks of the servers,
  /// and set `durability.replicas`, so that the replicas have the counter. Needs scripts:
  /// `Errc::unsupported` if the client may not send any.
  bool fencing = false;
  /// A description of the holder, for people who look at the server: stored behind the token, after
  /// a space. At most 1,024 bytes without control characters, else `Errc::invalid_argument`.
  std::string label{};
  /// The lock is held for at least this long, in milliseconds, counted from when the acquisition
  /// was answered. A release before that leaves the key at the server for the rest of the time, and
  /// the lock is granted to no waiter until then, in this process and others, whether this process
  /// lives on or not. For a job that every host starts and one of them does: longer than the
  /// difference of the hosts' clocks, and shorter than the time to the next run. 0: none. A holder
  /// that dies holds for its ttl only, so a ttl of at least `min_hold` makes it certain. A longer
  /// `min_hold` works while the lock is renewed, and is `Errc::invalid_argument` with `auto_renew`
  /// off or a shorter `max_hold`; so is a negative one. For `Lock` and `FairLock`;
  /// `Errc::unsupported` from the constructors of other locks.
  std::chrono::milliseconds min_hold{0};
  /// Whether waits ride out a server that is away from their first attempt on: `lock()`, bounded
  /// waits and the constructors that wait then treat each error that is `Error::transient()`
  /// (`Errc::unreachable`, `timed_out`, `not_writable` and `no_quorum`) as a lock that is held
  /// elsewhere. They try again after pauses until they have the lock, a stop is requested, or their
  /// time is over; a bounded wait then throws the last error. By default a wait throws such an
  /// error of its first attempt, and `no_quorum` because of `durability` at any time. Has no effect
  /// on single attempts.
  bool ride_out = false;
  /// Where the lock must be stored. By default an acquisition waits for neither replicas nor the
  /// disk: a server that restarts or fails over right after it forgets the lock. Renewals wait for
  /// neither in any case.
  Durability durability{};
};

}  // namespace redlatch
