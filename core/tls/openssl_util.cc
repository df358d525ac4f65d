#include "core/tls/openssl_util.h"

#include <openssl/err.h>

#include <array>
#include <utility>

#include "core/base/hex.h"

namespace ringscale::core::tls {

std::unexpected<Error> FailOpenSsl(ErrorCode code, std::string what) {
  unsigned long last = 0;
  while (const unsigned long error = ERR_get_error()) last = error;
  const char* reason = ERR_reason_error_string(last);
  if (reason != nullptr) what.append(": ").append(reason);
  return Fail(code, std::move(what));
}

void DrainBio(BIO* bio, std::string& out) {
  const std::size_t pending = BIO_ctrl_pending(bio);
  if (pending == 0) return;
  const std::size_t before = out.size();
  out.resize(before + pending);
  const int got = BIO_read(bio, out.data() + before, static_cast<int>(pending));
  out.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
}

bool AttachMemoryBios(SSL* ssl) {
  BioPtr in(BIO_new(BIO_s_mem()));
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!in || !out) return false;
  SSL_set_bio(ssl, in.release(), out.release());
  return true;
}

bool FillBio(BIO* bio, Bytes bytes) {
  return bytes.empty() || BIO_write(bio, bytes.data(), static_cast<int>(bytes.size())) ==
                              static_cast<int>(bytes.size());
}

std::string CertificateSha256Hex(const X509* certificate) {
  std::array<unsigned char, 32> digest;
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1 || size != digest.size()) {
    return {};
  }
  return HexEncode(digest);
}

}  // namespace ringscale::core::tls
