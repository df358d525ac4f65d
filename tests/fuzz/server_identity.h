// A certificate for relay.example and its key, made once per process.
#pragma once

#include <string>

#include "core/base/time.h"
#include "core/tls/issue.h"

namespace ringscale::fuzz {

struct ServerIdentity {
  std::string chain;  // PEM
  std::string key;    // PEM
};

inline const ServerIdentity& Identity() {
  static const ServerIdentity identity = [] {
    using namespace core::tls;  // NOLINT
    const core::WallTime now = core::WallNow();
    const PkeyPtr ca_key = std::move(*GenerateP256());
    const PkeyPtr key = std::move(*GenerateP256());
    const X509Ptr ca = std::move(*IssueCa(ca_key.get(), now));
    const X509Ptr leaf = std::move(
        *IssueLeaf(key.get(), *CanonicalNames({"relay.example"}), ca.get(), ca_key.get(), now));
    return ServerIdentity{.chain = CertificateToPem(leaf.get()), .key = KeyToPem(key.get())};
  }();
  return identity;
}

}  // namespace ringscale::fuzz
