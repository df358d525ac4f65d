#include "core/tls/handshake_core.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/hex.h"
#include "core/tls/key_schedule.h"
#include "core/tls/ssl_session.h"

namespace ringscale::core::tls {

namespace {

int SecretsIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// "<LABEL> <client random> <secret>", in hexadecimal.
void OnKeyLogLine(const SSL* ssl, const char* text) {
  auto* secrets = static_cast<TrafficSecrets*>(SSL_get_ex_data(ssl, SecretsIndex()));
  if (secrets == nullptr) return;
  const std::string_view line = text;
  const bool of_client = line.starts_with("CLIENT_TRAFFIC_SECRET_0 ");
  if (!of_client && !line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) return;
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  std::array<std::uint8_t, 48>& secret = of_client ? secrets->client : secrets->server;
  std::size_t& size = of_client ? secrets->client_size : secrets->server_size;
  if (hex.size() / 2 > secret.size()) return;
  if (HexDecodeTo(hex, MutableBytes(secret).first(hex.size() / 2))) size = hex.size() / 2;
}

std::optional<Suite> SuiteOf(const SSL* ssl) {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  switch (cipher == nullptr ? 0 : SSL_CIPHER_get_protocol_id(cipher)) {
    case 0x1301:
      return Suite::kAes128GcmSha256;
    case 0x1302:
      return Suite::kAes256GcmSha384;
    case 0x1303:
      return Suite::kChacha20Poly1305Sha256;
    default:
      return std::nullopt;
  }
}

// RFC 6066 section 4; 0 when it was not negotiated.
std::uint16_t NegotiatedFragmentLength(const SSL* ssl) {
  const SSL_SESSION* session = SSL_get0_session(ssl);
  const unsigned code = session == nullptr ? 0 : SSL_SESSION_get_max_fragment_length(session);
  return code == 0 || code > 4 ? 0 : static_cast<std::uint16_t>(256U << code);
}

}  // namespace

TrafficSecrets::~TrafficSecrets() {
  OPENSSL_cleanse(client.data(), client.size());
  OPENSSL_cleanse(server.data(), server.size());
}

void InstallKeyLog(SSL_CTX* context) {
  SSL_CTX_set_keylog_callback(context, OnKeyLogLine);
}

HandshakeCore::HandshakeCore(SslPtr ssl, bool client) : ssl_(std::move(ssl)), client_(client) {}

HandshakeCore::~HandshakeCore() = default;

bool HandshakeCore::Start() {
  return ssl_ != nullptr && AttachMemoryBios(ssl_.get()) &&
         SSL_set_ex_data(ssl_.get(), SecretsIndex(), &secrets_) == 1;
}

Result<bool> HandshakeCore::Feed(Bytes bytes) {
  if (failed_ || ssl_ == nullptr) return Fail(ErrorCode::kClosed, "TLS handshake is over");
  if (bytes.size() > kMaxHandshakeBytes - fed_) {
    failed_ = true;
    return Fail(ErrorCode::kLimit, "TLS handshake too long");
  }
  fed_ += bytes.size();
  if (!FillBio(SSL_get_rbio(ssl_.get()), bytes)) {
    failed_ = true;
    return Fail(ErrorCode::kLimit, "no memory");
  }
  if (done_) return true;
  Result<bool> result = Step();
  failed_ = !result;
  DrainBio(SSL_get_wbio(ssl_.get()), output_);
  return result;
}

Result<bool> HandshakeCore::Step() {
  ERR_clear_error();
  const int outcome = SSL_do_handshake(ssl_.get());
  if (outcome == 1) {
    done_ = true;
    tls13_ = SSL_version(ssl_.get()) == TLS1_3_VERSION;
    return true;
  }
  if (SSL_get_error(ssl_.get(), outcome) == SSL_ERROR_WANT_READ) return false;
  return FailOpenSsl(ErrorCode::kCorrupt, "TLS handshake");
}

std::string HandshakeCore::TakeOutput() {
  return std::exchange(output_, {});
}

bool HandshakeCore::is_tls13() const {
  return tls13_;
}

Result<Transport> HandshakeCore::Finish() {
  if (!done_ || failed_ || ssl_ == nullptr) {
    return Fail(ErrorCode::kConflict, "TLS handshake is not done");
  }
  SSL_set_ex_data(ssl_.get(), SecretsIndex(), nullptr);
  // With a byte already inside the SSL object its place in the stream is lost to
  // us; OpenSSL reads record by record, so this is only for a version that does not.
  if (tls13_ && SSL_has_pending(ssl_.get()) == 0) return TakeOver();
  Result<std::unique_ptr<SslSession>> session = SslSession::Adopt(ssl_.release());
  if (!session) return Forward(session);
  return Transport::Ssl(std::move(*session));
}

Result<Transport> HandshakeCore::TakeOver() {
  const std::optional<Suite> suite = SuiteOf(ssl_.get());
  if (!suite) return Fail(ErrorCode::kInternal, "TLS: unknown cipher suite");
  auto keys = std::make_unique<RecordKeys>();
  keys->suite = *suite;
  keys->client = client_;
  const std::uint16_t fragment = NegotiatedFragmentLength(ssl_.get());
  if (fragment != 0) keys->max_plaintext = fragment;
  const Bytes client_secret = Bytes(secrets_.client).first(secrets_.client_size);
  const Bytes server_secret = Bytes(secrets_.server).first(secrets_.server_size);
  if (!InstallTrafficSecret(*suite, client_ ? server_secret : client_secret, keys->receive) ||
      !InstallTrafficSecret(*suite, client_ ? client_secret : server_secret, keys->send)) {
    return Fail(ErrorCode::kInternal, "TLS: traffic secrets are missing");
  }
  std::string leftover;
  DrainBio(SSL_get_rbio(ssl_.get()), leftover);
  ssl_.reset();
  return Transport::Records(std::move(keys),
                            std::vector<std::uint8_t>(leftover.begin(), leftover.end()));
}

}  // namespace ringscale::core::tls
