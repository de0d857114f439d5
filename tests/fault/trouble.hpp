#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "incident.hpp"

namespace redlatch::test {

/// `ClientOptions::client_name` of all workers.
inline constexpr const char* name_of_workers = "torture";

/// A fault that is going on.
struct Trouble {
  Incident incident{};
  /// Ends it, and says whether it was seen to land. To be called once.
  std::function<bool()> end{};
};

/// A fault that commands make, over a server's Unix socket. `key` is what `key_deleted` deletes,
/// and `time` how long the fault lasts. Nothing where it is none of these faults. Throws
/// std::runtime_error where the server does not answer.
///
/// It was seen to land if:
/// - `server_asleep`: the server has answered when it was awake again;
/// - `server_busy`: a command was refused as BUSY, and SCRIPT KILL has ended the script;
/// - `server_paused`: clients were blocked;
/// - `server_read_only`, `server_full`: commands were refused as READONLY, or OOM;
/// - `clients_killed`: some of them were the workers';
/// - `scripts_flushed`: there were scripts;
/// - `key_deleted`: the key was there;
/// - `all_flushed`: there were keys.
std::optional<Trouble> command_trouble(Fault fault, const std::string& socket,
                                       const std::string& key, std::chrono::milliseconds time);

}  // namespace redlatch::test
