#include "sentinel_server.hpp"

#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "certificates.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"

namespace redlatch::test {

void SentinelServer::configure(const std::vector<std::string>& lines) {
  std::ofstream file(directory_.path() + "/sentinel.conf");
  file << "bind 127.0.0.1\nport " << (tls_ ? 0 : port()) << "\nunixsocket " << socket() << "\ndir "
       << directory_.path() << "\nlogfile " << directory_.path() << "/log\n";
  if (tls_) {
    const OwnCertificates& own = own_certificates();
    file << "tls-port " << port() << "\ntls-cert-file " << own.server.certificate
         << "\ntls-key-file " << own.server.key << "\ntls-ca-cert-file " << own.issuer
         << "\ntls-auth-clients no\ntls-replication yes\n";
  }
  for (const std::string& line : lines) file << line << '\n';
}

void SentinelServer::start() {
  process_.start({directory_.path() + "/sentinel.conf", "--sentinel"});
  eventually([&] { return process_.has_ended() || answers(); });
  if (process_.has_ended() || !answers()) {
    throw std::runtime_error("the sentinel does not start:\n" + log());
  }
}

std::string SentinelServer::log() const {
  std::ifstream file(directory_.path() + "/log");
  return {std::istreambuf_iterator<char>(file), {}};
}

bool SentinelServer::answers() const {
  try {
    const RawReply reply = RawClient(socket()).command({"PING"});
    return reply.text == "PONG" || reply.text.starts_with("NOAUTH");
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace redlatch::test
