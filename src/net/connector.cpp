#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io_error.hpp"
#include "net/asking_threads.hpp"
#include "net/connection.hpp"
#include "net/credential_source.hpp"
#include "net/greeting.hpp"
#include "net/poll.hpp"
#include "net/socket.hpp"
#include "net/tls_transport.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {
namespace {

/// RFC 8305, "connection attempt delay".
constexpr std::chrono::milliseconds stagger{250};
constexpr std::chrono::milliseconds min_stagger{10};

/// Delay before a Unix socket with a full queue is tried again.
constexpr std::chrono::milliseconds crowded_pause{2};

/// How much longer than its time an attempt lasts at most whose time was found to be over late.
constexpr std::chrono::milliseconds max_grace{100};

Credentials credentials_of(const Settings& settings, TimePoint deadline, int cancel) {
  if (settings.credentials) return settings.credentials->get(deadline, cancel);
  return {.user = settings.endpoint.user, .password = settings.endpoint.password};
}

/// With which the servers would be connected to with TLS.
std::string_view scheme_for_tls(const Settings& settings) {
  if (settings.role.is_sentinel || !settings.endpoint.sentinels.empty()) {
    return "rediss-sentinel://";
  }
  const bool is_cluster = settings.role.only_login || !settings.endpoint.nodes.empty();
  return is_cluster ? "rediss-cluster://" : "rediss://";
}

}  // namespace

/// One attempt to connect to an address and to log in there. None of its members waits.
class LoginAttempt {
 public:
  LoginAttempt(const SocketAddress& address, const Settings& settings,
               const Credentials& credentials, std::shared_ptr<TlsContext> tls,
               Greeting::Scope scope, unsigned closed_before)
      : address_(address),
        scope_(scope),
        closed_before_(closed_before),
        scheme_for_tls_(scheme_for_tls(settings)),
        greeting_(settings, credentials, scope),
        tls_(std::move(tls)) {
    connect();
  }

  /// The descriptor and the events that the attempt waits for, for a poll.
  pollfd awaited() const noexcept {
    if (state_ == State::handshake) {
      const short events = handshake_ == Transport::Handshake::wants_room ? POLLOUT : POLLIN;
      return {.fd = transport_->fd(), .events = events, .revents = 0};
    }
    if (state_ == State::greeting) {
      const short events = stream_->output().empty() ? POLLIN : POLLIN | POLLOUT;
      return {.fd = transport_->fd(), .events = events, .revents = 0};
    }
    return {.fd = state_ == State::crowded ? -1 : socket_->fd(), .events = POLLOUT, .revents = 0};
  }
  /// It waits for `crowded_pause`, and for no descriptor.
  bool is_crowded() const noexcept { return state_ == State::crowded; }
  bool is_connected() const noexcept {
    return state_ == State::handshake || state_ == State::greeting;
  }
  const SocketAddress& address() const noexcept { return address_; }
  Greeting::Scope scope() const noexcept { return scope_; }
  /// How many attempts were closed in a row before it.
  unsigned closed_before() const noexcept { return closed_before_; }
  /// Whether it has failed because the peer closed the connection at the greeting.
  bool was_closed() const noexcept { return was_closed_; }

  /// What is said of an attempt that is not over when the time is.
  std::string complaint() const {
    switch (state_) {
      case State::crowded:
        return "cannot connect: too many others wait for the server to accept them";
      case State::connecting:
        return "cannot connect: no answer within connect_timeout; is a server running there?";
      case State::handshake:
        return "connected, but the TLS handshake did not finish within connect_timeout; does this "
               "port speak TLS?";
      default:
        return "connected, but no answer within connect_timeout; is the server stopped or "
               "overloaded?";
    }
  }

  /// Goes on without waiting: true when it has logged in. Throws `IoError` when it has failed.
  bool go_on() {
    if (state_ == State::crowded) connect();
    if (state_ == State::connecting) {
      socket_->finish_connecting();
      secure();
    } else if (state_ == State::handshake) {
      shake_hands();
    }
    if (state_ != State::greeting) return false;
    try {
      send_available(*stream_, *transport_);
      receive_into(*stream_, *transport_);
    } catch (const IoError& error) {
      if (error.code() != Errc::unreachable) throw;
      receive_last();
      was_closed_ = !greeting_.receive_available(*stream_);  // what came before may say why
      if (address_.family() == AF_UNIX || greeting_.has_answers()) throw;
      // As Redis does, whose library has no alert for what is not TLS.
      std::string text = error.what();
      text += "; is this a ";
      if (!tls_) text.append("port for TLS (use ").append(scheme_for_tls_).append("), or a ");
      throw IoError(Errc::unreachable, text + "proxy that does not know the command?");
    }
    return greeting_.receive_available(*stream_);
  }

  Connection taken() && {
    return {.stream = std::move(stream_),
            .transport = std::move(transport_),
            .abilities = greeting_.abilities(),
            .address = address_};
  }

 private:
  /// `go_on` moves from one to the next. An attempt that fails is destroyed, in whatever state it
  /// is.
  enum class State {
    crowded,     // until there is room in a Unix socket's queue
    connecting,  // until the socket is writable
    handshake,   // until that of TLS is over; without TLS it is over at once
    greeting     // until all of the greeting is answered
  };

  /// What the server sent before it closed the connection may say why.
  void receive_last() {
    try {
      receive_into(*stream_, *transport_);
    } catch (const IoError& error) {
      if (error.code() != Errc::unreachable) throw;
    }
  }

  void connect() {
    switch (socket_->connect(address_)) {
      case Socket::Progress::crowded:
        state_ = State::crowded;
        return;
      case Socket::Progress::under_way:
        state_ = State::connecting;
        return;
      case Socket::Progress::done:
        return secure();
    }
  }

  void secure() {
    transport_ = std::move(socket_);
    if (tls_) transport_ = with_tls(tls_, std::move(transport_));
    state_ = State::handshake;
    shake_hands();
  }

  void shake_hands() {
    try {
      handshake_ = transport_->handshake();
    } catch (const IoError& error) {
      if (error.code() != Errc::unreachable) throw;
      throw IoError(error.code(), std::string(error.what()) + ", during the handshake of TLS");
    }
    if (handshake_ == Transport::Handshake::done) greet();
  }

  void greet() {
    greeting_.append_to(*stream_);  // `go_on` sends it
    state_ = State::greeting;
  }

  const SocketAddress address_;
  const Greeting::Scope scope_;
  const unsigned closed_before_;
  const std::string_view scheme_for_tls_;
  Greeting greeting_;
  bool was_closed_ = false;
  State state_ = State::crowded;
  std::unique_ptr<Socket> socket_ = std::make_unique<Socket>();  // until it is connected
  const std::shared_ptr<TlsContext> tls_;
  std::unique_ptr<Transport> transport_{};  // from then on
  Transport::Handshake handshake_ = Transport::Handshake::done;
  std::unique_ptr<RespStream> stream_ = std::make_unique<RespStream>();
};

/// Attempts beside each other. Ends with the first that logs in, not with the first that connects:
/// a proxy, or a host that has hung, may accept connections and never answer.
class Race {
 public:
  Race(const Settings& settings, TimePoint deadline, int cancel)
      : settings_(settings),
        deadline_(deadline),
        cancel_(cancel),
        credentials_(credentials_of(settings, deadline, cancel)),
        destination_(settings.topology->locate(deadline, cancel)),
        delay_(std::clamp<std::chrono::nanoseconds>(
            (deadline - BootClock::now()) / static_cast<long>(destination_.addresses.size()),
            min_stagger, stagger)) {}

  TimePoint begun() const noexcept { return start_; }
  /// When all of `connect_timeout` has passed.
  TimePoint latest() const noexcept { return start_ + settings_.options.connect_timeout; }

  /// None when the topology names another server meanwhile. Throws `Cancelled` when `cancel` gets
  /// readable; `run` may be called again then.
  std::optional<Connection> run(TimePoint deadline, int cancel) {
    deadline_ = deadline;
    cancel_ = cancel;
    for (;;) {
      begin_due();
      if (attempts_.empty()) throw failure();
      // The time is looked at before the poll: answers that came while this process was stopped are
      // read once, although the deadline is over by then. The server has a moment more for what is
      // still to be said.
      const TimePoint now = BootClock::now();
      if (now >= deadline_ && !std::exchange(has_grace_, true)) {
        deadline_ = now + std::min<TimePoint::duration>(now - deadline_, max_grace);
      }
      const bool in_time = now < deadline_;
      const std::vector<Attempts::iterator> ready = wait();
      // First: a former primary that was stopped together with this process answers, too.
      settings_.topology->attend();
      if (in_time && settings_.topology->version() != destination_.version) return std::nullopt;
      for (const auto one : ready) {
        if (!go_on(one)) continue;
        note_success(one->scope());
        Connection connection = std::move(*one).taken();
        connection.version = destination_.version;
        return connection;
      }
      if (!in_time && !attempts_.empty()) throw failure();
    }
  }

 private:
  using Attempts = std::list<LoginAttempt>;

  bool is_more() const noexcept { return begun_ < destination_.addresses.size(); }

  void begin_due() {
    while (is_more() && (attempts_.empty() || BootClock::now() >= begin_next_)) {
      const SocketAddress& address = destination_.addresses[begun_++];
      begin_next_ = BootClock::now() + delay_;
      begin(address, scope_, in_vain_);
    }
  }

  void begin(const SocketAddress& address, Greeting::Scope scope, unsigned closed_before) {
    try {
      attempts_.emplace_back(address, settings_, credentials_, destination_.tls, scope,
                             closed_before);
    } catch (const IoError& error) {
      note(error, address);
    }
  }

  /// Waits until an attempt can go on, or a new one is due. Returns those that can, each once.
  std::vector<Attempts::iterator> wait() {
    const bool crowded = std::any_of(attempts_.begin(), attempts_.end(),
                                     [](const LoginAttempt& one) { return one.is_crowded(); });
    TimePoint end = is_more() ? std::min(begin_next_, deadline_) : deadline_;
    end = std::min(end, BootClock::now() + AskingThreads::fresh_for);  // `AskingThreads::Looks`
    if (crowded) end = std::min(end, BootClock::now() + crowded_pause);
    std::vector<pollfd> watched{{.fd = cancel_, .events = POLLIN, .revents = 0}};
    for (const LoginAttempt& one : attempts_) watched.push_back(one.awaited());
    end = std::min(end, settings_.topology->watch(watched));
    poll_until(watched, end);
    if (watched.front().revents != 0) throw Cancelled();
    std::vector<Attempts::iterator> ready;
    std::size_t i = 1;
    for (auto one = attempts_.begin(); one != attempts_.end(); ++one, ++i) {
      if (one->is_crowded() || watched[i].revents != 0) ready.push_back(one);
    }
    return ready;
  }

  bool go_on(Attempts::iterator one) {
    const bool was_connected = one->is_connected();
    try {
      if (one->go_on()) return true;
    } catch (const IoError& error) {
      const SocketAddress address = one->address();
      const bool closed = one->was_closed();
      const auto once_more = closed ? scope_behind(*one) : std::nullopt;
      const unsigned closed_before = one->closed_before() + 1;
      if (closed && !once_more)
        settings_.closings->note_closed(Closings::Step::login, start_, BootClock::now());
      if (!once_more) note(error, address);
      attempts_.erase(one);
      if (once_more) begin(address, *once_more, closed_before);
      return false;
    }
    // The delay before the next attempt counts anew: the server is there, and has to answer now.
    if (!was_connected && one->is_connected()) begin_next_ = BootClock::now() + delay_;
    return false;
  }

  /// The greeting to retry with after a closed attempt: one without optional commands, unless that
  /// has failed before, as a server that closes every connection must not get twice as many. The id
  /// of a quorum's server is left out after two closings only: one may be the end of the server,
  /// and without the id it might count twice.
  std::optional<Greeting::Scope> scope_behind(const LoginAttempt& closed) const noexcept {
    using Scope = Greeting::Scope;
    const bool again = closed.closed_before() == 0;
    if (closed.scope() == Scope::whole && again) return Scope::needed;
    if (closed.scope() != Scope::needed || !settings_.role.has_optional_id()) return std::nullopt;
    return again ? Scope::needed : Scope::least;
  }

  void note_success(Greeting::Scope scope) const noexcept {
    settings_.closings->note_answered(Closings::Step::login);
    if (scope == scope_) return;
    settings_.closings->note_closed(Closings::Step::greeting, start_, BootClock::now());
    if (scope != Greeting::Scope::least) return;
    settings_.closings->note_closed(Closings::Step::identity, start_, BootClock::now());
  }

  /// Optional commands are left out where they have closed a connection. Where every greeting was
  /// in vain, each fourth one leaves them out: a proxy that forbids them may be back.
  Greeting::Scope first_scope() const noexcept {
    constexpr unsigned period = 4;
    if (settings_.closings->in_a_row(Closings::Step::identity, BootClock::now()) > 0)
      return Greeting::Scope::least;
    const bool only_needed =
        settings_.closings->in_a_row(Closings::Step::greeting, BootClock::now()) > 0 ||
        in_vain_ % period == period - 1;
    return only_needed ? Greeting::Scope::needed : Greeting::Scope::whole;
  }

  /// Keeps the error of an attempt. An error that the server has sent ends the race; after any
  /// other the next address may be better.
  void note(const IoError& error, const SocketAddress& address) {
    failure_.emplace(error.code(), error.what() + where(address));
    if (!is_outage(error.code())) throw *failure_;
    begin_next_ = BootClock::now();
  }

  IoError failure() const {
    if (attempts_.empty()) return *failure_;
    const LoginAttempt& last = attempts_.back();
    return {Errc::unreachable, last.complaint() + where(last.address())};
  }

  /// Which addresses were tried; empty when the server's name says that.
  std::string where(const SocketAddress& address) const {
    if (!destination_.description.empty()) return " (" + destination_.description + ")";
    const std::string text = address.text();
    if (begun_ < 2 && (text.empty() || text == settings_.endpoint.host)) return {};
    if (begun_ < 2) return " (tried " + text + ")";
    return " (tried " + std::to_string(begun_) + " addresses, the last was " + text + ")";
  }

  const Settings& settings_;
  const TimePoint start_ = BootClock::now();
  TimePoint deadline_;
  int cancel_;
  const Credentials credentials_;
  const Destination destination_;
  const std::chrono::nanoseconds delay_;
  const unsigned in_vain_ = settings_.closings->in_a_row(Closings::Step::login, BootClock::now());
  const Greeting::Scope scope_ = first_scope();

  std::size_t begun_ = 0;   // of the addresses
  TimePoint begin_next_{};  // when the next one is tried beside the others
  Attempts attempts_{};
  std::optional<IoError> failure_{};
  bool has_grace_ = false;
};

namespace {

/// False when the time is over before that: what the server says is not believed yet.
bool confirm(Topology& topology, TimePoint deadline, int cancel) {
  try {
    topology.confirm(BootClock::now(), deadline, cancel);
    return true;
  } catch (const Cancelled&) {
    throw;
  } catch (const IoError& error) {
    if (error.code() != Errc::timed_out) throw;
    return false;
  }
}

}  // namespace

Connecting::Connecting() noexcept = default;
Connecting::Connecting(Connecting&& other) noexcept = default;
Connecting& Connecting::operator=(Connecting&& other) noexcept = default;
Connecting::~Connecting() = default;

TimePoint Connecting::begun(TimePoint otherwise) const noexcept {
  return race_ && otherwise < race_->latest() ? race_->begun() : otherwise;
}

Connection Connecting::connect(const Settings& settings, TimePoint deadline, int cancel) {
  // The server may have closed an attempt that no thread has continued for that long.
  if (race_ && BootClock::now() >= race_->latest()) race_.reset();
  try {
    std::optional<Connection> winner;
    TimePoint begun{};
    bool is_confirmed = false;
    while (!winner) {
      is_confirmed = true;
      if (!race_) race_ = std::make_unique<Race>(settings, deadline, cancel);
      begun = race_->begun();
      winner = race_->run(std::min(deadline, race_->latest()), cancel);
      race_.reset();
      if (winner && !settings.topology->is_trusted(BootClock::now())) {
        is_confirmed = confirm(*settings.topology, deadline, cancel);
        if (settings.topology->version() != winner->version) winner.reset();
      }
    }
    if (is_confirmed) settings.topology->note_answer(begun, winner->version);
    settings.topology->prefer(winner->address);
    winner->transport->begin_waiting({.usual = settings.options.command_timeout,
                                      .busy_poll = settings.options.busy_poll,
                                      .cancel = cancel});
    return *std::move(winner);
  } catch (const Cancelled&) {
    throw;
  } catch (...) {
    race_.reset();
    throw;
  }
}

Connection connect(const Settings& settings, TimePoint deadline, int cancel) {
  return Connecting().connect(settings, deadline, cancel);
}

}  // namespace redlatch::detail
