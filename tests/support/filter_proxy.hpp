#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "scripted_server.hpp"

namespace redlatch::test {

/// Stands in front of a server as a service or a proxy does: passes each command on and its reply
/// back, except for the commands that a filter answers itself. It passes no messages that the
/// server sends unasked.
class FilterProxy {
 public:
  /// Nothing: the command is passed on. Otherwise the bytes to answer with; empty: the connection
  /// is closed without an answer. Called on the proxy's thread, for one command after the other.
  using Filter = std::function<std::optional<std::string>(const ScriptedRequest&)>;

  FilterProxy(std::string server_socket, Filter filter);

  std::string url() const { return front_.url(); }
  /// As long as the result lives, no filter runs: for tests that change what filters look at.
  std::unique_lock<std::mutex> hold() { return front_.hold(); }
  /// Changes the filter.
  void set(Filter filter);
  /// What clients have said, refused or not.
  const ScriptedServer& front() const noexcept { return front_; }

 private:
  /// The connection to the server that belongs to one of a client.
  class Upstream {
   public:
    explicit Upstream(const std::string& server_socket);
    Upstream(const Upstream&) = delete;
    Upstream& operator=(const Upstream&) = delete;
    ~Upstream();
    std::string ask(const ScriptedRequest& request) const;

   private:
    int fd_;
  };

  std::string answer(const ScriptedRequest& request);

  const std::string server_socket_;
  Filter filter_;
  std::map<std::size_t, Upstream> upstreams_{};
  ScriptedServer front_;  // goes before the others, which its thread uses
};

}  // namespace redlatch::test
