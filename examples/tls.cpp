// A server behind TLS: the URL says rediss://, and the options name the issuer that is trusted.

#include <cstdlib>
#include <iostream>
#include <string>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* variable = std::getenv("REDIS_URL");
  const std::string url = variable != nullptr ? variable : "rediss://localhost:6379";
  const char* file = std::getenv("SSL_CERT_FILE");
  const std::string ca_file = file != nullptr ? file : "";
  try {
    redlatch::Client client(url, {.tls = {.ca_file = ca_file}});  // empty: what the system trusts
    redlatch::Lock lock(client, "report", {.ttl = 30s});
    std::cout << "held over TLS\n";
  } catch (const redlatch::Error& error) {
    std::cerr << error.what() << '\n';  // which check failed, and for which name
    return 1;
  }
}
