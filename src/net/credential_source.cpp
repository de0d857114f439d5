#include "net/credential_source.hpp"

#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "base/io_error.hpp"
#include "net/detached_call.hpp"

namespace redlatch::detail {

Credentials CredentialSource::get(TimePoint deadline, int cancel) {
  const std::string name = "ClientOptions::credentials";
  std::shared_ptr<const DetachedCall<Credentials>> call;
  try {
    const MutexLock lock(mutex_);
    // A call that is under way serves this log-in, too: a client that connects all its connections
    // at once asks the service behind the function once. A finished call serves none, as its
    // credentials may have expired by now.
    if (!under_way_ || under_way_->is_finished()) {
      under_way_ = DetachedCall<Credentials>::start(function_);
    }
    call = under_way_;
  } catch (const std::system_error& error) {
    throw IoError(Errc::unreachable, name + " cannot be called: " + error.code().message());
  }
  if (!call->wait(deadline, cancel)) {
    throw IoError(Errc::unreachable, name +
                                         " has not returned within connect_timeout; make that "
                                         "longer, or see what the function waits for");
  }
  try {
    Credentials credentials = call->result();
    // Without a password the connection would be that of the server's default user.
    if (!credentials.password.empty()) return credentials;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
    throw IoError(Errc::authentication_failed, name + " " + what_was_thrown());
  }
  throw IoError(Errc::authentication_failed, name +
                                                 " has given no password; let it throw where there "
                                                 "is none, or leave the option out");
}

void CredentialSource::after_fork_in_child() noexcept {
  if (under_way_) under_way_->abandon();
  under_way_.reset();
  mutex_.unlock();
}

}  // namespace redlatch::detail
