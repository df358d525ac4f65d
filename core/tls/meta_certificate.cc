#include "core/tls/meta_certificate.h"

#include "core/base/hex.h"
#include "core/tls/issue.h"

namespace ringscale::core::tls {
namespace {

// Some platforms look at the dates of every certificate in the chain; nobody
// renews this one while the process runs.
constexpr int kDaysBefore = 30;
constexpr int kDaysAfter = 10 * 365;

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>>;

bool Fill(X509* certificate, EVP_PKEY* key, const std::string& name, std::uint8_t serial,
          WallTime now) {
  auto base = static_cast<time_t>(now.unix_ns / 1'000'000'000);
  X509_NAME* subject = X509_get_subject_name(certificate);
  // A printable string of that type may be longer than the 64 characters that X.520
  // allows a common name; one that OpenSSL chooses the type of may not.
  return X509_set_version(certificate, X509_VERSION_3) == 1 &&
         ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) == 1 &&
         X509_time_adj_ex(X509_getm_notBefore(certificate), -kDaysBefore, 0, &base) != nullptr &&
         X509_time_adj_ex(X509_getm_notAfter(certificate), kDaysAfter, 0, &base) != nullptr &&
         X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_PRINTABLESTRING,
                                    reinterpret_cast<const unsigned char*>(name.data()),
                                    static_cast<int>(name.size()), -1, 0) == 1 &&
         X509_set_issuer_name(certificate, subject) == 1 && X509_set_pubkey(certificate, key) == 1;
}

}  // namespace

Result<std::string> MakeMetaCertificate(const std::array<std::uint8_t, 32>& server_key,
                                        std::uint8_t protocol_version, WallTime now) {
  const PkeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  const X509Ptr certificate(X509_new());
  const ExtensionPtr constraints(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:FALSE"));
  if (!key || !certificate || !constraints ||
      !Fill(certificate.get(), key.get(), "derpkey" + HexEncode(server_key), protocol_version,
            now) ||
      X509_add_ext(certificate.get(), constraints.get(), -1) != 1 ||
      X509_sign(certificate.get(), key.get(), nullptr) <= 0) {
    return FailOpenSsl(ErrorCode::kInternal, "cannot make the certificate of the relay's key");
  }
  return CertificateToPem(certificate.get());
}

}  // namespace ringscale::core::tls
