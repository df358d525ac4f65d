#include "core/tls/client.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/tls/aead.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

using Verify = ClientSettings::Verify;

struct Pair {
  Result<ClientHandshake::Status> client_status = ClientHandshake::Status::kNeedMore;
  Result<Handshake::Status> server_status = Handshake::Status::kNeedMore;
  std::unique_ptr<ClientHandshake> client;
  std::unique_ptr<Handshake> server;

  [[nodiscard]] bool done() const {
    return client_status && *client_status == ClientHandshake::Status::kDone && server_status &&
           *server_status == Handshake::Status::kDone;
  }
};

Pair Shake(const ClientSettings& settings, const std::string& name = "relay.example") {
  Pair pair;
  pair.client = std::move(*StartClientHandshake(*MakeClientContext(settings), name));
  pair.server = std::move(*StartHandshake(test::TestIdentity().context));
  pair.client_status = pair.client->Feed({});
  for (int turn = 0; turn < 4 && !pair.done(); ++turn) {
    pair.server_status = pair.server->Feed(AsBytes(pair.client->TakeOutput()));
    if (!pair.server_status) break;
    pair.client_status = pair.client->Feed(AsBytes(pair.server->TakeOutput()));
  }
  return pair;
}

void Exchange(Pair& pair) {
  AeadPool pool;
  Transport client = std::move(*pair.client->Finish());
  Transport server = std::move(*pair.server->Finish());
  const std::string text(30'000, 'c');
  const std::string_view pieces[] = {text};
  for (auto [from, to] : {std::pair(&client, &server), std::pair(&server, &client)}) {
    std::string wire;
    ASSERT_TRUE(from->Seal(pool, pieces, wire));
    std::vector<std::uint8_t> memory = test::Raw(wire);
    std::string data;
    ASSERT_TRUE(to->Receive(pool, memory, [&](MutableBytes run) { data += test::Text(run); }));
    EXPECT_EQ(data, text);
  }
}

TEST(ClientHandshakeTest, TalksToOurServer) {
  for (const Suite suite : test::kAllSuites) {
    Pair pair = Shake({.verify = Verify::kNone, .cipher_suites = test::SuiteName(suite)});
    ASSERT_TRUE(pair.done());
    EXPECT_TRUE(pair.client->is_tls13());
    EXPECT_EQ(pair.client->peer_sha256_hex(), test::TestIdentity().context->leaf_sha256_hex());
    EXPECT_EQ(pair.server->server_name(), "relay.example");
    Exchange(pair);
  }
}

TEST(ClientHandshakeTest, Tls12) {
  Pair pair = Shake({.verify = Verify::kNone, .tls12_only = true});
  ASSERT_TRUE(pair.done());
  EXPECT_FALSE(pair.client->is_tls13());
  Exchange(pair);
}

TEST(ClientHandshakeTest, PinDecidesAlone) {
  ClientSettings settings{.verify = Verify::kSha256Pin,
                          .pin = test::TestIdentity().context->leaf_sha256_hex()};
  EXPECT_TRUE(Shake(settings, "another.example").done());
  settings.pin[0] = settings.pin[0] == '0' ? '1' : '0';
  Pair pair = Shake(settings);
  ASSERT_FALSE(pair.client_status);
  EXPECT_FALSE(pair.server->Feed(AsBytes(pair.client->TakeOutput()))) << "the server is told";
}

TEST(ClientHandshakeTest, CaFileChecksChainAndName) {
  const std::string file = testing::TempDir() + "ringscale-client-ca.pem";
  std::ofstream(file) << test::TestIdentity().ca;
  const ClientSettings settings{.verify = Verify::kCaFile, .ca_file = file};
  EXPECT_TRUE(Shake(settings).done());
  EXPECT_TRUE(Shake(settings, "127.0.0.1").done());
  EXPECT_FALSE(Shake(settings, "another.example").done());
  EXPECT_FALSE(Shake(settings, "127.0.0.2").done());
  EXPECT_FALSE(MakeClientContext({.verify = Verify::kCaFile, .ca_file = file + ".missing"}));
}

TEST(ClientHandshakeTest, SystemTrustRefusesAnUnknownCa) {
  EXPECT_FALSE(Shake({.verify = Verify::kSystem}).done());
}

TEST(ClientHandshakeTest, IpLiteralsAreNotSentAsServerName) {
  const Pair pair = Shake({.verify = Verify::kNone}, "127.0.0.1");
  ASSERT_TRUE(pair.done());
  EXPECT_EQ(pair.server->server_name(), "");
}

TEST(ClientHandshakeTest, BadSettingsAreErrors) {
  EXPECT_FALSE(MakeClientContext({.cipher_suites = "TLS_NOTHING"}));
  EXPECT_FALSE(StartClientHandshake(nullptr, "x"));
}

}  // namespace
}  // namespace ringscale::core::tls
