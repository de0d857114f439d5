#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace redlatch::test {

/// The files of a certificate and its private key, in PEM.
struct CertificateFiles {
  std::string certificate;
  std::string key;
};

/// An issuer of certificates, which writes them to a directory.
class CertificateAuthority {
 public:
  /// Writes its own certificate. `name` is part of the names of all of its files.
  CertificateAuthority(const std::string& directory, const std::string& name);
  ~CertificateAuthority();

  /// The file with the issuer's own certificate.
  const std::string& file() const noexcept { return file_; }

  struct Subject {
    std::string name;  // of the files
    std::vector<std::string> alternative{"DNS:localhost", "IP:127.0.0.1"};
    std::chrono::hours from{-1};  // from now on
    std::chrono::hours until{24};
  };
  CertificateFiles issue(const Subject& subject);

 private:
  struct Identity;

  std::string directory_;
  std::string file_;
  std::unique_ptr<Identity> own_;
};

/// The certificates of this process's own servers. OpenSSL trusts their issuer in this process and
/// its children, by $SSL_CERT_FILE, where a client names no other.
struct OwnCertificates {
  std::string issuer;
  CertificateFiles server;
};
const OwnCertificates& own_certificates();

}  // namespace redlatch::test
