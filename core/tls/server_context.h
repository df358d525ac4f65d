// Making a ServerContext from PEM text. Files and generated certificates:
// certificates.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/tls/handshake.h"

typedef struct ssl_ctx_st SSL_CTX;  // NOLINT(modernize-use-using): OpenSSL's own declaration

namespace ringscale::core::tls {

struct CertificatePem {
  std::string_view chain;       // the leaf first, then its issuers
  std::string_view key;         // of the leaf, not encrypted
  std::string_view chain_name;  // where they came from, for errors
  std::string_view key_name;
};

// kCorrupt for text that is not PEM or holds no certificate or key, kConflict for a
// key of another certificate. Sends exactly the certificates of `chain`.
Result<std::shared_ptr<const ServerContext>> MakeServerContext(const CertificatePem& pem);

// Inside this room: the OpenSSL object behind a context made here, else null.
SSL_CTX* NativeContext(const ServerContext& context);

}  // namespace ringscale::core::tls
