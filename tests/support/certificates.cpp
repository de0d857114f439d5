#include "certificates.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "temporary_directory.hpp"

namespace redlatch::test {
namespace {

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(std::FILE* file) const { std::fclose(file); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

void check(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

Owned<EVP_PKEY> make_key() {
  // All of its signatures have the same length, and so have all handshakes.
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nullptr));
  EVP_PKEY* key = nullptr;
  check(EVP_PKEY_keygen_init(context.get()) == 1 && EVP_PKEY_keygen(context.get(), &key) == 1,
        "no key");
  return Owned<EVP_PKEY>(key);
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extension");
}

Owned<X509> begin_certificate(const std::string& name, EVP_PKEY* key, std::chrono::hours from,
                              std::chrono::hours until) {
  static long serial = 0;
  Owned<X509> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), std::chrono::seconds(from).count());
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), std::chrono::seconds(until).count());
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

Owned<std::FILE> open(const std::string& path) {
  Owned<std::FILE> file(std::fopen(path.c_str(), "w"));
  check(file != nullptr, "no file");
  return file;
}

void write(const CertificateFiles& files, X509* certificate, EVP_PKEY* key) {
  check(PEM_write_X509(open(files.certificate).get(), certificate) == 1, "certificate");
  check(
      PEM_write_PrivateKey(open(files.key).get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
      "key");
}

}  // namespace

struct CertificateAuthority::Identity {
  Owned<EVP_PKEY> key;
  Owned<X509> certificate;
};

CertificateAuthority::CertificateAuthority(const std::string& directory, const std::string& name)
    : directory_(directory), file_(directory + "/" + name + ".crt") {
  Owned<EVP_PKEY> key = make_key();
  Owned<X509> certificate =
      begin_certificate(name, key.get(), std::chrono::hours(-48), std::chrono::hours(48));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  add_extension(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash");
  check(X509_sign(certificate.get(), key.get(), nullptr) > 0, "signature");
  write({.certificate = file_, .key = directory + "/" + name + ".key"}, certificate.get(),
        key.get());
  own_ = std::make_unique<Identity>(Identity{std::move(key), std::move(certificate)});
}

CertificateAuthority::~CertificateAuthority() = default;

CertificateFiles CertificateAuthority::issue(const Subject& subject) {
  const CertificateFiles files{.certificate = directory_ + "/" + subject.name + ".crt",
                               .key = directory_ + "/" + subject.name + ".key"};
  const Owned<EVP_PKEY> key = make_key();
  const Owned<X509> certificate =
      begin_certificate(subject.name, key.get(), subject.from, subject.until);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(own_->certificate.get()));
  std::string names;
  for (const std::string& name : subject.alternative) names += (names.empty() ? "" : ",") + name;
  if (!names.empty()) {
    add_extension(certificate.get(), own_->certificate.get(), NID_subject_alt_name, names);
  }
  check(X509_sign(certificate.get(), own_->key.get(), nullptr) > 0, "signature");
  write(files, certificate.get(), key.get());
  return files;
}

const OwnCertificates& own_certificates() {
  static const TemporaryDirectory directory;
  static const OwnCertificates own = [] {
    CertificateAuthority issuer(directory.path(), "issuer");
    ::setenv("SSL_CERT_FILE", issuer.file().c_str(), 1);
    return OwnCertificates{.issuer = issuer.file(), .server = issuer.issue({.name = "server"})};
  }();
  return own;
}

}  // namespace redlatch::test
