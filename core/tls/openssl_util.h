// Owned OpenSSL objects and the error queue as text, for this room only.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace ringscale::core::tls {

template <auto kFree>
struct OpenSslFree {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using SslPtr = std::unique_ptr<SSL, OpenSslFree<SSL_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpenSslFree<SSL_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;

// Empties this thread's error queue: "<what>: <last reason>".
[[nodiscard]] std::unexpected<Error> FailOpenSsl(ErrorCode code, std::string what);

// Moves everything that an SSL object wrote into its memory BIO to `out`.
void DrainBio(BIO* bio, std::string& out);

// Gives an SSL object two memory BIOs. False when there is no memory.
[[nodiscard]] bool AttachMemoryBios(SSL* ssl);

// Appends to a memory BIO. False when there is no memory.
[[nodiscard]] bool FillBio(BIO* bio, Bytes bytes);

// Lower-case hex of the SHA-256 over the certificate's DER. Empty on failure.
[[nodiscard]] std::string CertificateSha256Hex(const X509* certificate);

}  // namespace ringscale::core::tls
