#include "client_core.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include <redlatch/error.hpp>

namespace redlatch::detail {
namespace {

void require(bool good, const std::string& what) {
  if (!good) throw Error(Errc::invalid_argument, what);
}

Settings checked(std::string_view url, ClientOptions options) {
  const auto fits = [](std::chrono::milliseconds time) {
    return time > std::chrono::milliseconds::zero() && time <= std::chrono::hours(24);
  };
  require(fits(options.connect_timeout), "connect_timeout must be from 1 ms to 24 h");
  require(fits(options.command_timeout), "command_timeout must be from 1 ms to 24 h");
  require(options.connections >= 1 && options.connections <= 1024,
          "connections must be from 1 to 1024");
  require(std::all_of(options.client_name.begin(), options.client_name.end(),
                      [](char c) { return c > ' ' && c <= '~'; }),
          "client_name has a space, a control character or one outside ASCII, which Redis refuses");
  Endpoint endpoint = parse_url(url);
  std::string server = endpoint.name();
  return {std::move(endpoint), std::move(options), std::move(server)};
}

}  // namespace

ClientCore::ClientCore(std::string_view url, ClientOptions options)
    : settings_(checked(url, std::move(options))),
      open_releases_(settings_.options.command_timeout,
                     [this](TimePoint end, const Request& request, Response& response) {
                       channel_of(request.key).execute_until(end, request, response);
                     }) {
  for (std::size_t i = 0; i < settings_.options.connections; ++i) {
    channels_.push_back(std::make_unique<Channel>(settings_, open_releases_));
  }
}

void ClientCore::execute(std::span<const Request> requests, std::span<Response> responses,
                         Enough /*one server is enough or not there*/, Connecting connecting) {
  channel_of(requests.front().key).execute(requests.front(), responses.front(), connecting);
  open_releases_.ensure_started();
}

void ClientCore::post(std::string_view key, const Undo& undo) noexcept {
  open_releases_.add(key, undo, OpenReleases::After::no_answer);
}

void ClientCore::pause(TimePoint::duration time) { std::this_thread::sleep_for(time); }

Channel& ClientCore::channel_of(std::string_view key) noexcept {
  return *channels_[std::hash<std::string_view>{}(key) % channels_.size()];
}

void ClientCore::before_fork() {
  open_releases_.before_fork();
  for (const auto& channel : channels_) channel->before_fork();
}

void ClientCore::after_fork_in_parent() {
  for (const auto& channel : channels_) channel->after_fork_in_parent();
  open_releases_.after_fork_in_parent();
}

void ClientCore::after_fork_in_child() noexcept {
  ++process_;
  for (const auto& channel : channels_) channel->after_fork_in_child();
  open_releases_.after_fork_in_child();
}

}  // namespace redlatch::detail
