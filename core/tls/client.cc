#include "core/tls/client.h"

#include <openssl/err.h>

#include <utility>

#include "core/crypto/secret_text.h"
#include "core/net/address.h"
#include "core/tls/handshake_core.h"
#include "core/tls/openssl_util.h"

namespace ringscale::core::tls {

namespace {

class SslClientContext final : public ClientContext {
 public:
  SslClientContext(SslCtxPtr context, bool check_name)
      : context_(std::move(context)), check_name_(check_name) {}
  [[nodiscard]] SSL_CTX* native() const { return context_.get(); }
  [[nodiscard]] bool check_name() const { return check_name_; }

 private:
  SslCtxPtr context_;
  bool check_name_;
};

int PinIndex() {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* pin, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<std::string*>(pin);
      });
  return index;
}

// Replaces chain building: only the pin counts.
int CheckPin(X509_STORE_CTX* store, void* pin) {
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (leaf != nullptr &&
      SecretEquals(CertificateSha256Hex(leaf), *static_cast<const std::string*>(pin))) {
    return 1;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  return 0;
}

Result<> ConfigureVerify(SSL_CTX* context, const ClientSettings& settings) {
  using Verify = ClientSettings::Verify;
  SSL_CTX_set_verify(context, settings.verify == Verify::kNone ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     nullptr);
  switch (settings.verify) {
    case Verify::kNone:
      break;
    case Verify::kSystem:
      if (SSL_CTX_set_default_verify_paths(context) != 1) {
        return FailOpenSsl(ErrorCode::kIo, "trust store");
      }
      break;
    case Verify::kCaFile:
      if (SSL_CTX_load_verify_file(context, settings.ca_file.c_str()) != 1) {
        return FailOpenSsl(ErrorCode::kIo, settings.ca_file);
      }
      break;
    case Verify::kSha256Pin: {
      auto pin = std::make_unique<std::string>(settings.pin);
      SSL_CTX_set_cert_verify_callback(context, CheckPin, pin.get());
      if (SSL_CTX_set_ex_data(context, PinIndex(), pin.get()) != 1) {
        return FailOpenSsl(ErrorCode::kLimit, "TLS settings");
      }
      (void)pin.release();  // freed with the context
      break;
    }
  }
  return {};
}

class SslClientHandshake final : public ClientHandshake {
 public:
  explicit SslClientHandshake(SslPtr ssl) : core_(std::move(ssl), true) {}

  [[nodiscard]] bool Start(const std::string& server_name, bool check_name) {
    if (!core_.Start()) return false;
    SSL* ssl = core_.ssl();
    SSL_set_connect_state(ssl);
    const bool is_ip = IpAddress::Parse(server_name).has_value();
    if (!is_ip && !server_name.empty() && SSL_set_tlsext_host_name(ssl, server_name.c_str()) != 1) {
      return false;
    }
    if (!check_name) return true;
    return is_ip ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str()) == 1
                 : SSL_set1_host(ssl, server_name.c_str()) == 1;
  }

  Result<Status> Feed(Bytes bytes) override {
    Result<bool> done = core_.Feed(bytes);
    if (core_.ssl() != nullptr && peer_.empty()) {
      const X509* leaf = SSL_get0_peer_certificate(core_.ssl());
      if (leaf != nullptr) peer_ = CertificateSha256Hex(leaf);
    }
    if (!done) return Forward(done);
    return *done ? Status::kDone : Status::kNeedMore;
  }
  std::string TakeOutput() override { return core_.TakeOutput(); }
  Result<Transport> Finish() override { return core_.Finish(); }
  [[nodiscard]] bool is_tls13() const override { return core_.is_tls13(); }
  [[nodiscard]] std::string peer_sha256_hex() const override { return peer_; }

 private:
  HandshakeCore core_;
  std::string peer_;
};

}  // namespace

Result<std::shared_ptr<const ClientContext>> MakeClientContext(const ClientSettings& settings) {
  ERR_clear_error();
  SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return FailOpenSsl(ErrorCode::kLimit, "TLS settings");
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  InstallKeyLog(context.get());
  if (SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1 ||
      (settings.tls12_only && SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION) != 1) ||
      (!settings.cipher_suites.empty() &&
       SSL_CTX_set_ciphersuites(context.get(), settings.cipher_suites.c_str()) != 1)) {
    return FailOpenSsl(ErrorCode::kInvalid, "TLS settings");
  }
  Result<> verify = ConfigureVerify(context.get(), settings);
  if (!verify) return Forward(verify);
  const bool check_name = settings.verify == ClientSettings::Verify::kSystem ||
                          settings.verify == ClientSettings::Verify::kCaFile;
  return std::make_shared<const SslClientContext>(std::move(context), check_name);
}

Result<std::unique_ptr<ClientHandshake>> StartClientHandshake(
    const std::shared_ptr<const ClientContext>& context, const std::string& server_name) {
  const auto* ours = dynamic_cast<const SslClientContext*>(context.get());
  if (ours == nullptr) return Fail(ErrorCode::kInternal, "TLS: not a context of this room");
  auto handshake = std::make_unique<SslClientHandshake>(SslPtr(SSL_new(ours->native())));
  if (!handshake->Start(server_name, ours->check_name())) {
    return FailOpenSsl(ErrorCode::kInvalid, "TLS handshake with \"" + server_name + "\"");
  }
  return handshake;
}

}  // namespace ringscale::core::tls
