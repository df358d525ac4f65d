// Building X.509 certificates: the CA and the leaf of generated_certificates.cc.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/tls/openssl_util.h"

namespace ringscale::core::tls {

// "dns:<lower-case name>" or "ip:<address>" of each; kInvalid for anything that is
// neither.
Result<std::set<std::string>> CanonicalNames(const std::vector<std::string>& names);
// The subject alternative names of a certificate in the same form.
std::set<std::string> NamesOf(const X509* certificate);

Result<PkeyPtr> GenerateP256();

// A self-signed CA, 20 years, whose subject ends in its key's identifier.
Result<X509Ptr> IssueCa(EVP_PKEY* key, WallTime now);
// A server certificate for canonical names, 10 years.
Result<X509Ptr> IssueLeaf(EVP_PKEY* key, const std::set<std::string>& names, X509* ca,
                          EVP_PKEY* ca_key, WallTime now);

// PEM, without a passphrase. Empty only for lack of memory.
std::string KeyToPem(EVP_PKEY* key);
std::string CertificateToPem(X509* certificate);
// Null when the text is something else.
PkeyPtr KeyFromPem(std::string_view text);
X509Ptr CertificateFromPem(std::string_view text);

}  // namespace ringscale::core::tls
