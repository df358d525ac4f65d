#include "tests/core/tls/tls_test_support.h"

#include <gtest/gtest.h>

#include <array>

#include "core/tls/issue.h"
#include "core/tls/server_context.h"

namespace ringscale::core::tls::test {

const char* SuiteName(Suite suite) {
  switch (suite) {
    case Suite::kAes128GcmSha256:
      return "TLS_AES_128_GCM_SHA256";
    case Suite::kAes256GcmSha384:
      return "TLS_AES_256_GCM_SHA384";
    case Suite::kChacha20Poly1305Sha256:
      return "TLS_CHACHA20_POLY1305_SHA256";
  }
  return "";
}

const Identity& TestIdentity() {
  static const Identity identity = [] {
    const WallTime now = WallNow();
    const PkeyPtr ca_key = std::move(*GenerateP256());
    const PkeyPtr key = std::move(*GenerateP256());
    const X509Ptr ca = std::move(*IssueCa(ca_key.get(), now));
    const X509Ptr leaf = std::move(*IssueLeaf(
        key.get(), *CanonicalNames({"relay.example", "127.0.0.1"}), ca.get(), ca_key.get(), now));
    Identity made;
    made.ca = CertificateToPem(ca.get());
    made.chain = CertificateToPem(leaf.get());
    made.key = KeyToPem(key.get());
    made.context = *MakeServerContext(
        {.chain = made.chain, .key = made.key, .chain_name = "chain", .key_name = "key"});
    return made;
  }();
  return identity;
}

Ends MakeEnds(Suite suite) {
  std::array<std::uint8_t, 48> a;
  std::array<std::uint8_t, 48> b;
  a.fill(0x5a);
  b.fill(0xc3);
  const Bytes to_server = Bytes(a).first(SecretSize(suite));
  const Bytes to_client = Bytes(b).first(SecretSize(suite));
  Ends ends;
  ends.server->suite = ends.client->suite = suite;
  ends.client->client = true;
  EXPECT_TRUE(InstallTrafficSecret(suite, to_server, ends.server->receive));
  EXPECT_TRUE(InstallTrafficSecret(suite, to_server, ends.client->send));
  EXPECT_TRUE(InstallTrafficSecret(suite, to_client, ends.server->send));
  EXPECT_TRUE(InstallTrafficSecret(suite, to_client, ends.client->receive));
  return ends;
}

std::string Text(Bytes bytes) {
  return std::string(AsText(bytes));
}
std::vector<std::uint8_t> Raw(std::string_view text) {
  return {text.begin(), text.end()};
}

OpenSslClient::OpenSslClient(const std::function<void(SSL_CTX*)>& configure,
                             const std::function<void(SSL*)>& prepare)
    : context_(SSL_CTX_new(TLS_client_method())) {
  if (configure) configure(context_);
  ssl_ = SSL_new(context_);
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(ssl_);
  if (prepare) prepare(ssl_);
}

OpenSslClient::~OpenSslClient() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

bool OpenSslClient::Handshake(std::string_view from_server) {
  if (!from_server.empty()) {
    BIO_write(SSL_get_rbio(ssl_), from_server.data(), static_cast<int>(from_server.size()));
  }
  return SSL_do_handshake(ssl_) == 1;
}

std::string OpenSslClient::TakeOutput() {
  std::string out(BIO_ctrl_pending(SSL_get_wbio(ssl_)), '\0');
  if (!out.empty()) BIO_read(SSL_get_wbio(ssl_), out.data(), static_cast<int>(out.size()));
  return out;
}

void OpenSslClient::Write(std::string_view plaintext) {
  EXPECT_EQ(SSL_write(ssl_, plaintext.data(), static_cast<int>(plaintext.size())),
            static_cast<int>(plaintext.size()));
}

std::string OpenSslClient::Read(std::string_view from_server) {
  if (!from_server.empty()) {
    BIO_write(SSL_get_rbio(ssl_), from_server.data(), static_cast<int>(from_server.size()));
  }
  std::string out;
  std::array<char, 20'000> chunk;
  for (;;) {
    const int got = SSL_read(ssl_, chunk.data(), static_cast<int>(chunk.size()));
    if (got <= 0) {
      last_error_ = SSL_get_error(ssl_, got);
      return out;
    }
    out.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

Connected Connect(std::unique_ptr<OpenSslClient> client, std::string_view early) {
  std::unique_ptr<Handshake> server = std::move(*StartHandshake(TestIdentity().context));
  bool client_done = client->Handshake({});
  bool server_done = false;
  bool sent_early = false;
  for (int turn = 0; turn < 6 && !(client_done && server_done); ++turn) {
    if (client_done && !sent_early && !early.empty()) client->Write(early);
    sent_early = client_done;
    const Result<Handshake::Status> status = server->Feed(AsBytes(client->TakeOutput()));
    if (!status) {
      ADD_FAILURE() << status.error().message;
      break;
    }
    server_done = *status == Handshake::Status::kDone;
    client_done = client->Handshake(server->TakeOutput());
  }
  EXPECT_TRUE(client_done && server_done);
  Connected connected{.client = std::move(client), .transport = Transport::Plain()};
  connected.server_name = server->server_name();
  connected.tls13 = server->is_tls13();
  Result<Transport> transport = server->Finish();
  EXPECT_TRUE(transport) << transport.error().message;
  if (transport) connected.transport = std::move(*transport);
  return connected;
}

}  // namespace ringscale::core::tls::test
