#include "core/tls/server_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <ctime>
#include <utility>

#include "core/tls/handshake_core.h"
#include "core/tls/openssl_util.h"

namespace ringscale::core::tls {

namespace {

class SslServerContext final : public ServerContext {
 public:
  SslServerContext(SslCtxPtr context, std::string pin, std::int64_t not_before,
                   std::int64_t not_after)
      : context_(std::move(context)),
        pin_(std::move(pin)),
        not_before_(not_before),
        not_after_(not_after) {}

  [[nodiscard]] const std::string& leaf_sha256_hex() const override { return pin_; }
  [[nodiscard]] std::int64_t not_before_unix() const override { return not_before_; }
  [[nodiscard]] std::int64_t not_after_unix() const override { return not_after_; }
  [[nodiscard]] SSL_CTX* native() const { return context_.get(); }

 private:
  SslCtxPtr context_;
  std::string pin_;
  std::int64_t not_before_;
  std::int64_t not_after_;
};

// Without ALPN (the relay's clients send none) or with http/1.1; nothing else is
// spoken here (RFC 7301 section 3.2).
int SelectProtocol(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* in, unsigned in_size, void* /*unused*/) {
  static constexpr unsigned char kOurs[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size, kOurs, sizeof(kOurs), in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

bool Configure(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // NO_AUTO_CHAIN: send what was given, nothing that happens to be on this machine.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
  InstallKeyLog(context);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_max_early_data(context, 0) == 1 &&
         SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
         SSL_CTX_set_ciphersuites(context,
                                  "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                  "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
         SSL_CTX_set_cipher_list(context,
                                 "ECDHE+AES128+AESGCM:ECDHE+AES256+AESGCM:ECDHE+CHACHA20") == 1;
}

// A private key behind a passphrase cannot be used by a server that starts alone.
int NoPassphrase(char* /*out*/, int /*size*/, int /*writing*/, void* /*unused*/) {
  return 0;
}

BioPtr MemoryOf(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Result<X509Ptr> LoadChain(SSL_CTX* context, const CertificatePem& pem) {
  const std::string name(pem.chain_name);
  const BioPtr memory = MemoryOf(pem.chain);
  X509Ptr leaf(PEM_read_bio_X509(memory.get(), nullptr, NoPassphrase, nullptr));
  if (!leaf) {
    return FailOpenSsl(ErrorCode::kCorrupt, name + ": no certificate in PEM form");
  }
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return FailOpenSsl(ErrorCode::kCorrupt, name + ": certificate cannot be used");
  }
  for (;;) {
    const X509Ptr next(PEM_read_bio_X509(memory.get(), nullptr, NoPassphrase, nullptr));
    if (!next) break;
    if (SSL_CTX_add1_chain_cert(context, next.get()) != 1) {
      return FailOpenSsl(ErrorCode::kCorrupt, name + ": chain certificate cannot be used");
    }
  }
  // The end of the file says "no start line"; anything else is a damaged certificate.
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    return FailOpenSsl(ErrorCode::kCorrupt, name + ": damaged certificate after the first");
  }
  ERR_clear_error();
  return leaf;
}

std::int64_t UnixTime(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : 0;
}

}  // namespace

Result<std::shared_ptr<const ServerContext>> MakeServerContext(const CertificatePem& pem) {
  ERR_clear_error();
  SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context || !Configure(context.get())) {
    return FailOpenSsl(ErrorCode::kInternal, "TLS settings");
  }
  Result<X509Ptr> leaf = LoadChain(context.get(), pem);
  if (!leaf) return Forward(leaf);
  const BioPtr memory = MemoryOf(pem.key);
  const PkeyPtr key(PEM_read_bio_PrivateKey(memory.get(), nullptr, NoPassphrase, nullptr));
  const std::string key_name(pem.key_name);
  if (!key) {
    return FailOpenSsl(ErrorCode::kCorrupt,
                       key_name + ": no private key in PEM form without a passphrase");
  }
  if (X509_check_private_key(leaf->get(), key.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    ERR_clear_error();
    return Fail(ErrorCode::kConflict,
                key_name + " is not the key of the certificate in " + std::string(pem.chain_name));
  }
  std::string pin = CertificateSha256Hex(leaf->get());
  const std::int64_t not_before = UnixTime(X509_get0_notBefore(leaf->get()));
  const std::int64_t not_after = UnixTime(X509_get0_notAfter(leaf->get()));
  return std::make_shared<const SslServerContext>(std::move(context), std::move(pin), not_before,
                                                  not_after);
}

SSL_CTX* NativeContext(const ServerContext& context) {
  const auto* ours = dynamic_cast<const SslServerContext*>(&context);
  return ours == nullptr ? nullptr : ours->native();
}

}  // namespace ringscale::core::tls
