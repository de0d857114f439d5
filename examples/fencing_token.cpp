// A resource that refuses a late holder. A process that was stopped for longer than its lease goes
// on as if nothing had happened; the number of its acquisition shows that it is late. invoices.hpp
// has the resource's side.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <redlatch/redlatch.hpp>

#include "invoices.hpp"

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  Invoices invoices(":memory:");

  redlatch::Lock slow(client, "invoices", {.ttl = 100ms, .auto_renew = false, .fencing = true});
  const std::uint64_t old_token = slow.fencing_token();
  const auto old_number = invoices.read(old_token);
  std::this_thread::sleep_for(200ms);  // stopped, suspended, swapped out: longer than the lease

  redlatch::Lock quick(client, "invoices", {.fencing = true});
  const auto number = invoices.read(quick.fencing_token());  // the same: the late one wrote nothing
  const bool issued_late = invoices.issue(old_number.value(), old_token);  // not by owns_lock()
  const bool issued = invoices.issue(number.value(), quick.fencing_token());
  std::cout << "invoice " << number.value() << ": the late holder "
            << (issued_late ? "issued it" : "was refused") << ", the holder "
            << (issued ? "issued it" : "was refused") << '\n';
  return issued && !issued_late ? 0 : 1;
}
