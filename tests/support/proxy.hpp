#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace redlatch::test {

/// A man in the middle: accepts on a free loopback port, passes everything on to a server's Unix
/// socket, or to a loopback port as ":6379", and back, and breaks what it is told to.
class Proxy {
 public:
  enum class Direction { request, reply };
  enum class Manner {
    close,  // an orderly end on both sides
    reset,  // a reset towards the client, an orderly end towards the server
    stall   // nothing passes in either direction until `release`
  };

  /// On the next connection, exactly `after` bytes pass in `direction`; then it breaks.
  struct Fault {
    Direction direction;
    std::size_t after;
    Manner manner;
  };

  explicit Proxy(std::string server_socket);
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  ~Proxy();

  std::uint16_t port() const noexcept { return port_; }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }
  std::string tls_url() const { return "rediss://127.0.0.1:" + std::to_string(port_); }

  /// Every connection that there is ends; the next one has the fault.
  void arm(const Fault& fault);
  /// Whether the fault has come to pass: true from the moment on at which a client can have read
  /// the last byte that passes.
  bool struck() const;
  /// Lets stalled connections go on: what was said on them arrives, also when the client has closed
  /// its end meanwhile.
  void release();
  /// Nothing passes any more on the connections that there are now, but the newest so many.
  void stall(std::size_t but_newest = 0);
  /// Whether a client has said something on a stalled connection.
  bool holds_requests() const { return holds(""); }
  /// The same with this text in them.
  bool holds(std::string_view text) const;

  /// The newest connection has the fault, `after` more bytes from now on. What is said on it until
  /// then is kept as `traffic`.
  void arm_newest(const Fault& fault);
  /// The same for the oldest.
  void arm_oldest(const Fault& fault);
  /// Keeps back what the server says on the newest connection, until `let_go`.
  void hold();
  /// The same on all connections that there are now.
  void hold_all();
  void let_go();
  /// Whether the server has said something that is kept back.
  bool holds_replies() const;

  struct Traffic {
    std::string said{};   // read from the client; not all of it may have passed
    std::string heard{};  // passed to the client
  };
  /// Since `arm_newest`, until the fault came to pass.
  Traffic traffic() const;

  /// What has passed on the newest connection so far.
  std::size_t passed(Direction direction) const;
  std::size_t connections() const;

  /// New connections lead to another server, as when a name gets another address. With a path that
  /// does not exist they are closed at once, and counted as refused before a client can notice.
  void redirect(std::string server_socket);
  /// Ends all connections that there are: how many these were.
  std::size_t cut();
  std::size_t refused() const;

 private:
  struct Side {
    int fd;
    std::string waiting{};   // read here, to be written on the other side
    std::size_t passed = 0;  // of it
    bool ended = false;      // nothing more can be read here
  };
  struct Link {
    Side client;
    Side server;
    std::optional<Fault> fault{};
    bool held = false;  // replies are
    bool recorded = false;
    bool stalled = false;
    bool broken = false;
  };

  void run();
  void accept_one();
  void serve(Link& link, short client_events, short server_events);
  void read(Link& link, Side& from, Direction direction);
  bool pass(Link& link, Side& from, Side& to, Direction direction, bool readable);
  void arm_link(Link& link, const Fault& fault);
  void strike(Link& link);
  static void close_all(std::list<Link>& links);
  void wake() const;

  std::string server_socket_;
  std::uint16_t port_ = 0;  // set by the listener's initialiser
  int listener_;
  int wake_up_;

  /// Guards every member that changes. It is held from before a byte passes, or a connection ends,
  /// until that is counted: a test whose client has noticed it finds it in the counts.
  mutable std::mutex mutex_{};
  std::list<Link> links_{};
  std::optional<Fault> armed_{};
  Traffic traffic_{};
  bool stop_ = false;
  bool struck_ = false;
  std::size_t accepted_ = 0;
  std::size_t refused_ = 0;
  std::thread thread_{};
};

}  // namespace redlatch::test
