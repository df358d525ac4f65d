#include <algorithm>

#include "core/crypto/key_file.h"
#include "core/crypto/secret_text.h"
#include "core/tls/certificates.h"
#include "core/tls/issue.h"

namespace ringscale::core::tls {

namespace {

constexpr std::size_t kMaxCertificateFile = 256 * 1024;
// A leaf this close to its end is replaced at the next start.
constexpr Duration kRenewBefore = Seconds(90 * 24 * 3600);

// Every file is derived from those before it and written whole, so a crash between
// two of them leaves nothing that the next start cannot complete.
Result<PkeyPtr> LoadOrGenerateKey(const std::string& path) {
  Result<std::string> text = ReadPrivateFile(path);
  if (text) {
    PkeyPtr key = KeyFromPem(*text);
    Wipe(*text);
    if (!key) return Fail(ErrorCode::kCorrupt, path + ": not a private key in PEM form");
    return key;
  }
  if (text.error().code != ErrorCode::kNotFound) return Forward(text);
  Result<PkeyPtr> key = GenerateP256();
  if (!key) return key;
  std::string pem = KeyToPem(key->get());
  const Result<> written = WriteFileAtomically(path, pem, Replace::kNo);
  Wipe(pem);
  if (!written) return std::unexpected(written.error());
  return key;
}

Result<X509Ptr> LoadOrIssueCa(const std::string& path, EVP_PKEY* key, WallTime now) {
  Result<std::string> text = ReadPublicFile(path, kMaxCertificateFile);
  if (text) {
    X509Ptr ca = CertificateFromPem(*text);
    if (!ca) return Fail(ErrorCode::kCorrupt, path + ": not a certificate in PEM form");
    if (X509_check_private_key(ca.get(), key) != 1) {
      return Fail(ErrorCode::kConflict, path + ": the CA's private key belongs to another CA");
    }
    return ca;
  }
  if (text.error().code != ErrorCode::kNotFound) return Forward(text);
  Result<X509Ptr> ca = IssueCa(key, now);
  if (!ca) return ca;
  Result<> written = WriteFileAtomically(path, CertificateToPem(ca->get()), Replace::kNo, 0644);
  if (!written) return Forward(written);
  return ca;
}

bool StillGood(const X509* leaf, EVP_PKEY* key, X509* ca, EVP_PKEY* ca_key,
               const std::set<std::string>& names, WallTime now) {
  const std::set<std::string> has = NamesOf(leaf);
  auto limit = static_cast<time_t>((now + kRenewBefore).unix_ns / 1'000'000'000);
  auto present = static_cast<time_t>(now.unix_ns / 1'000'000'000);
  return std::ranges::includes(has, names) && X509_check_private_key(leaf, key) == 1 &&
         X509_check_issued(ca, const_cast<X509*>(leaf)) == X509_V_OK &&
         X509_verify(const_cast<X509*>(leaf), ca_key) == 1 &&
         X509_cmp_time(X509_get0_notAfter(leaf), &limit) > 0 &&
         X509_cmp_time(X509_get0_notBefore(leaf), &present) < 0;
}

}  // namespace

Result<GeneratedCertificate> LoadOrGenerateCertificate(const std::string& directory,
                                                       const std::vector<std::string>& names,
                                                       WallTime now,
                                                       std::string_view last_certificates) {
  Result<std::set<std::string>> canonical = CanonicalNames(names);
  if (!canonical) return Forward(canonical);
  GeneratedCertificate generated;
  generated.ca_file = directory + "/tls-ca.pem";
  const CertificateFiles files = {.certificate = directory + "/tls-leaf.pem",
                                  .key = directory + "/tls-leaf-key.pem"};
  Result<PkeyPtr> ca_key = LoadOrGenerateKey(directory + "/tls-ca-key.pem");
  if (!ca_key) return Forward(ca_key);
  Result<X509Ptr> ca = LoadOrIssueCa(generated.ca_file, ca_key->get(), now);
  if (!ca) return Forward(ca);
  Result<PkeyPtr> key = LoadOrGenerateKey(files.key);
  if (!key) return Forward(key);

  Result<std::string> text = ReadPublicFile(files.certificate, kMaxCertificateFile);
  if (!text && text.error().code != ErrorCode::kNotFound) return Forward(text);
  const X509Ptr old = text ? CertificateFromPem(*text) : nullptr;
  if (!old || !StillGood(old.get(), key->get(), ca->get(), ca_key->get(), *canonical, now)) {
    Result<X509Ptr> leaf = IssueLeaf(key->get(), *canonical, ca->get(), ca_key->get(), now);
    if (!leaf) return Forward(leaf);
    Result<> written =
        WriteFileAtomically(files.certificate, CertificateToPem(leaf->get()), Replace::kYes, 0644);
    if (!written) return Forward(written);
    generated.new_leaf = true;
  }
  Result<LoadedCertificate> loaded = LoadCertificate(files, now, last_certificates);
  if (!loaded) return Forward(loaded);
  generated.loaded = std::move(*loaded);
  return generated;
}

}  // namespace ringscale::core::tls
