#pragma once

#include <cstdint>
#include <memory>
#include <string>

struct redisContext;

namespace redlatch::benchmark {

/// The usual release script: redis.io/docs/latest/develop/use/patterns/distributed-locks
inline constexpr const char* release_script =
    "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 "
    "end";

/// What redlatch is compared to: the least that anybody would write with hiredis. It waits for both
/// answers, formats with hiredis and checks nothing but that the lock was taken and given back.
class BareLoop {
 public:
  BareLoop(const std::string& host, std::uint16_t port);
  explicit BareLoop(const std::string& socket);

  /// `SET key token NX PX 10000`. False when somebody has it; throws std::runtime_error when there
  /// is no answer.
  bool acquire(const std::string& key, const std::string& token);
  /// The release script by EVALSHA. False when it failed.
  bool release(const std::string& key, const std::string& token);

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept;
  };

  void load();

  std::unique_ptr<redisContext, Free> context_;
  std::string sha1_{};
};

}  // namespace redlatch::benchmark
