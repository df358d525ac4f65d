#include "core/tls/handshake.h"

#include <gtest/gtest.h>

#include <string>

#include "core/tls/aead.h"
#include "core/tls/handshake_core.h"
#include "core/tls/server_context.h"
#include "core/tls/ssl_session.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

using test::Connect;
using test::Connected;
using test::OpenSslClient;

std::unique_ptr<OpenSslClient> ClientWith(Suite suite) {
  return std::make_unique<OpenSslClient>([suite](SSL_CTX* context) {
    EXPECT_EQ(SSL_CTX_set_ciphersuites(context, test::SuiteName(suite)), 1);
  });
}

std::string Receive(Transport& transport, AeadPool& pool, std::string_view wire,
                    Result<>* result = nullptr) {
  std::vector<std::uint8_t> memory = test::Raw(wire);
  std::string data;
  const Result<> outcome =
      transport.Receive(pool, memory, [&](MutableBytes run) { data += test::Text(run); });
  if (result != nullptr) {
    *result = outcome;
  } else {
    EXPECT_TRUE(outcome) << outcome.error().message;
  }
  return data;
}

std::string Seal(Transport& transport, AeadPool& pool, std::string_view text) {
  std::string out;
  const std::string_view pieces[] = {text};
  EXPECT_TRUE(transport.Seal(pool, pieces, out));
  return out;
}

class HandshakeSuites : public testing::TestWithParam<Suite> {
 protected:
  AeadPool pool_;
};
INSTANTIATE_TEST_SUITE_P(Suites, HandshakeSuites, testing::ValuesIn(test::kAllSuites),
                         [](const auto& test) { return std::string(test::SuiteName(test.param)); });

TEST_P(HandshakeSuites, TakesOverFromOpenSsl) {
  Connected connected = Connect(ClientWith(GetParam()));
  EXPECT_TRUE(connected.tls13);
  ASSERT_EQ(connected.transport.kind(), Transport::Kind::kRecords);
  for (int i = 0; i < 5; ++i) {
    connected.client->Write("ping");
    EXPECT_EQ(Receive(connected.transport, pool_, connected.client->TakeOutput()), "ping");
    EXPECT_EQ(connected.client->Read(Seal(connected.transport, pool_, "pong")), "pong");
  }
  const std::string long_text(100'000, 'z');
  EXPECT_EQ(connected.client->Read(Seal(connected.transport, pool_, long_text)), long_text);
  connected.client->Write(long_text);
  EXPECT_EQ(Receive(connected.transport, pool_, connected.client->TakeOutput()), long_text);
}

TEST_P(HandshakeSuites, DataInTheFlightOfFinished) {
  const std::string early(40'000, 'e');
  Connected connected = Connect(ClientWith(GetParam()), early);
  EXPECT_EQ(Receive(connected.transport, pool_, {}), early);
  connected.client->Write("later");
  EXPECT_EQ(Receive(connected.transport, pool_, connected.client->TakeOutput()), "later");
}

TEST_P(HandshakeSuites, PartOfARecordIsCarriedOver) {
  // The client's Finished and a record arrive together, the record cut anywhere.
  for (const std::size_t cut : {1, 4, 5, 6, 20, 30}) {
    std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
    const std::unique_ptr<OpenSslClient> client = ClientWith(GetParam());
    EXPECT_FALSE(client->Handshake({}));
    ASSERT_TRUE(server->Feed(AsBytes(client->TakeOutput())));
    ASSERT_TRUE(client->Handshake(server->TakeOutput()));
    std::string flight = client->TakeOutput();
    client->Write("0123456789abcdef");
    const std::string record = client->TakeOutput();
    ASSERT_GT(record.size(), cut);
    flight += record.substr(0, cut);
    const Result<Handshake::Status> status = server->Feed(AsBytes(flight));
    ASSERT_TRUE(status);
    ASSERT_EQ(*status, Handshake::Status::kDone);
    Transport transport = std::move(*server->Finish());
    EXPECT_EQ(Receive(transport, pool_, {}), "");
    EXPECT_EQ(Receive(transport, pool_, record.substr(cut)), "0123456789abcdef");
  }
}

TEST_P(HandshakeSuites, KeyUpdatesInBothDirections) {
  Connected connected = Connect(ClientWith(GetParam()));
  SSL* ssl = connected.client->ssl();
  for (int round = 0; round < 3; ++round) {
    for (const int kind : {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED}) {
      ASSERT_EQ(SSL_key_update(ssl, kind), 1);
      connected.client->Write("after");
      EXPECT_EQ(Receive(connected.transport, pool_, connected.client->TakeOutput()), "after");
      const std::string answer = connected.transport.TakeControlOutput();
      EXPECT_EQ(answer.empty(), kind == SSL_KEY_UPDATE_NOT_REQUESTED);
      EXPECT_EQ(connected.client->Read(answer), "");
      EXPECT_EQ(connected.client->last_error(), SSL_ERROR_WANT_READ);
      EXPECT_EQ(connected.client->Read(Seal(connected.transport, pool_, "back")), "back");
    }
    // The answer goes out with data when nobody fetched it before.
    ASSERT_EQ(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    connected.client->Write("x");
    EXPECT_EQ(Receive(connected.transport, pool_, connected.client->TakeOutput()), "x");
    EXPECT_EQ(connected.client->Read(Seal(connected.transport, pool_, "y")), "y");
    EXPECT_EQ(connected.transport.TakeControlOutput(), "");
  }
}

TEST_P(HandshakeSuites, CloseInBothDirections) {
  Connected connected = Connect(ClientWith(GetParam()));
  connected.client->Read(connected.transport.SealClose(pool_));
  EXPECT_EQ(connected.client->last_error(), SSL_ERROR_ZERO_RETURN);
  SSL_shutdown(connected.client->ssl());
  Result<> result;
  Receive(connected.transport, pool_, connected.client->TakeOutput(), &result);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kClosed);
  EXPECT_EQ(connected.transport.TakeControlOutput(), "");
}

TEST_P(HandshakeSuites, GarbledRecordIsToldByAnAlert) {
  Connected connected = Connect(ClientWith(GetParam()));
  connected.client->Write("hello");
  std::string wire = connected.client->TakeOutput();
  wire.back() = static_cast<char>(wire.back() ^ 1);
  Result<> result;
  EXPECT_EQ(Receive(connected.transport, pool_, wire, &result), "");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  connected.client->Read(connected.transport.TakeControlOutput());
  EXPECT_EQ(connected.client->last_error(), SSL_ERROR_SSL);
  Receive(connected.transport, pool_, "x", &result);
  EXPECT_EQ(result.error().code, ErrorCode::kClosed) << "nothing is read after that";
}

// One byte at a time, both ways, data included.
TEST_P(HandshakeSuites, SplitAtEveryByte) {
  std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
  const std::unique_ptr<OpenSslClient> client = ClientWith(GetParam());
  client->Handshake({});
  Handshake::Status status = Handshake::Status::kNeedMore;
  const auto feed = [&](std::string_view wire) {
    for (std::size_t i = 0; i < wire.size() && status == Handshake::Status::kNeedMore; ++i) {
      const Result<Handshake::Status> next = server->Feed(AsBytes(wire.substr(i, 1)));
      ASSERT_TRUE(next) << next.error().message;
      status = *next;
    }
  };
  feed(client->TakeOutput());
  bool done = false;
  for (const char byte : server->TakeOutput()) done = client->Handshake(std::string_view(&byte, 1));
  ASSERT_TRUE(done);
  feed(client->TakeOutput());
  ASSERT_EQ(status, Handshake::Status::kDone);
  Transport transport = std::move(*server->Finish());
  client->Write("some data");
  std::string data;
  for (const char byte : client->TakeOutput()) {
    data += Receive(transport, pool_, std::string_view(&byte, 1));
  }
  EXPECT_EQ(data, "some data");
}

TEST(HandshakeTest, SuiteOfTheServersChoice) {
  AeadPool pool;
  const auto negotiated = [](const char* suites) {
    const Connected connected = Connect(std::make_unique<OpenSslClient>(
        [=](SSL_CTX* context) { SSL_CTX_set_ciphersuites(context, suites); }));
    return std::string(SSL_get_cipher_name(connected.client->ssl()));
  };
  const std::string aes128 = "TLS_AES_128_GCM_SHA256";
  const std::string aes256 = "TLS_AES_256_GCM_SHA384";
  const std::string chacha = "TLS_CHACHA20_POLY1305_SHA256";
  EXPECT_EQ(negotiated((aes256 + ":" + chacha + ":" + aes128).c_str()), aes128);
  EXPECT_EQ(negotiated((aes128 + ":" + chacha).c_str()), aes128);
  EXPECT_EQ(negotiated((chacha + ":" + aes128 + ":" + aes256).c_str()), chacha)
      << "a client that puts ChaCha first has no AES instructions";
}

TEST(HandshakeTest, MaxFragmentLengthReachesTheRecords) {
  AeadPool pool;
  Connected connected = Connect(std::make_unique<OpenSslClient>([](SSL_CTX* context) {
    ASSERT_EQ(SSL_CTX_set_tlsext_max_fragment_length(context, TLSEXT_max_fragment_length_1024), 1);
  }));
  const std::string text(5000, 'f');
  EXPECT_EQ(connected.client->Read(Seal(connected.transport, pool, text)), text);
  std::vector<std::uint8_t> partial;
  const std::unique_ptr<RecordKeys> keys = connected.transport.ReleaseKeys(partial);
  ASSERT_NE(keys, nullptr);
  EXPECT_EQ(keys->max_plaintext, 1024);
}

TEST(HandshakeTest, ServerNameIsKept) {
  const Connected connected = Connect(std::make_unique<OpenSslClient>(
      nullptr, [](SSL* ssl) { SSL_set_tlsext_host_name(ssl, "relay.example"); }));
  EXPECT_EQ(connected.server_name, "relay.example");
  EXPECT_EQ(Connect(std::make_unique<OpenSslClient>()).server_name, "");
}

TEST(HandshakeTest, ExactlyOneCertificateIsSent) {
  const Connected connected = Connect(std::make_unique<OpenSslClient>());
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(connected.client->ssl())), 1);
}

TEST(HandshakeTest, NoTicketAndNoResumption) {
  AeadPool pool;
  Connected connected = Connect(std::make_unique<OpenSslClient>());
  connected.client->Read(Seal(connected.transport, pool, "x"));
  EXPECT_EQ(SSL_SESSION_is_resumable(SSL_get0_session(connected.client->ssl())), 0);
}

// ALPN in wire form.
std::unique_ptr<OpenSslClient> ClientWithProtocols(std::string_view wire) {
  return std::make_unique<OpenSslClient>(nullptr, [=](SSL* ssl) {
    SSL_set_alpn_protos(ssl, AsBytes(wire).data(), static_cast<unsigned>(wire.size()));
  });
}

TEST(HandshakeTest, ApplicationProtocol) {
  const auto selected = [](std::string_view offer) {
    const Connected connected = Connect(ClientWithProtocols(offer));
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(connected.client->ssl(), &name, &size);
    return test::Text(Bytes(name, size));
  };
  EXPECT_EQ(selected(""), "");
  EXPECT_EQ(selected("\x08http/1.1"), "http/1.1");
  EXPECT_EQ(selected("\x02h2\x08http/1.1"), "http/1.1");

  std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
  const std::unique_ptr<OpenSslClient> client = ClientWithProtocols("\x02h2");
  client->Handshake({});
  EXPECT_FALSE(server->Feed(AsBytes(client->TakeOutput())));
  EXPECT_FALSE(server->TakeOutput().empty()) << "the alert";
}

TEST(HandshakeTest, OldVersionsAreRefused) {
  std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
  OpenSslClient client([](SSL_CTX* context) {
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
  });
  client.Handshake({});
  const Result<Handshake::Status> status = server->Feed(AsBytes(client.TakeOutput()));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
}

std::unique_ptr<OpenSslClient> Tls12Client() {
  return std::make_unique<OpenSslClient>(
      [](SSL_CTX* context) { SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION); });
}

TEST(HandshakeTest, Tls12KeepsTheSession) {
  AeadPool pool;
  Connected connected = Connect(Tls12Client());
  EXPECT_FALSE(connected.tls13);
  ASSERT_EQ(connected.transport.kind(), Transport::Kind::kSsl);
  EXPECT_EQ(SslSession::Count(), 1U);
  const std::string text(50'000, 't');
  connected.client->Write(text);
  EXPECT_EQ(Receive(connected.transport, pool, connected.client->TakeOutput()), text);
  const std::string_view pieces[] = {"a", "", text, "b"};
  std::string wire;
  ASSERT_TRUE(connected.transport.Seal(pool, pieces, wire));
  EXPECT_EQ(connected.client->Read(wire), "a" + text + "b");
  std::vector<std::uint8_t> partial;
  EXPECT_EQ(connected.transport.ReleaseKeys(partial), nullptr);

  SSL_shutdown(connected.client->ssl());
  Result<> result;
  Receive(connected.transport, pool, connected.client->TakeOutput(), &result);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kClosed);
  connected.client->Read(connected.transport.SealClose(pool));
  EXPECT_EQ(connected.client->last_error(), SSL_ERROR_ZERO_RETURN);
}

TEST(HandshakeTest, Tls12GarbledRecordIsToldByAnAlert) {
  AeadPool pool;
  Connected connected = Connect(Tls12Client());
  connected.client->Write("hello");
  std::string wire = connected.client->TakeOutput();
  wire.back() = static_cast<char>(wire.back() ^ 1);
  Result<> result;
  Receive(connected.transport, pool, wire, &result);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(connected.transport.TakeControlOutput().empty());
}

TEST(HandshakeTest, Tls12SessionsAreLimited) {
  SslSession::SetLimit(1);
  {
    const Connected first = Connect(Tls12Client());
    EXPECT_EQ(SslSession::Count(), 1U);
    std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
    const std::unique_ptr<OpenSslClient> client = Tls12Client();
    client->Handshake({});
    ASSERT_TRUE(server->Feed(AsBytes(client->TakeOutput())));
    client->Handshake(server->TakeOutput());
    ASSERT_TRUE(server->Feed(AsBytes(client->TakeOutput())));
    const Result<Transport> transport = server->Finish();
    ASSERT_FALSE(transport);
    EXPECT_EQ(transport.error().code, ErrorCode::kLimit);
  }
  EXPECT_EQ(SslSession::Count(), 0U);
  SslSession::SetLimit(kDefaultSslSessionLimit);
}

TEST(HandshakeTest, FinishBeforeTheEndIsRefused) {
  const std::unique_ptr<Handshake> server =
      std::move(*StartHandshake(test::TestIdentity().context));
  EXPECT_FALSE(server->Finish());
  EXPECT_FALSE(server->is_tls13());
  EXPECT_FALSE(StartHandshake(nullptr));
}

TEST(HandshakeTest, EndlessHandshakeIsCut) {
  const std::unique_ptr<Handshake> server =
      std::move(*StartHandshake(test::TestIdentity().context));
  // The start of a record of 16 KiB, over and over, never a whole message.
  std::string wire("\x16\x03\x01\x40\x00\x01\x00\xff\xff", 9);
  wire.resize(5 + 0x4000, 'x');
  Result<Handshake::Status> status = Handshake::Status::kNeedMore;
  std::size_t fed = 0;
  while (status && fed <= kMaxHandshakeBytes) {
    status = server->Feed(AsBytes(wire));
    fed += wire.size();
  }
  EXPECT_FALSE(status);
  EXPECT_FALSE(server->Feed({}));
}

// Whatever arrives in the place of a ClientHello or of the client's last flight:
// an error or a wait for more, never a finished handshake.
TEST(HandshakeTest, GarbledAtEveryByte) {
  OpenSslClient model;
  model.Handshake({});
  const std::string hello = model.TakeOutput();
  for (std::size_t i = 0; i < hello.size(); ++i) {
    std::string bad = hello;
    bad[i] = static_cast<char>(bad[i] ^ 0xff);
    std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
    const Result<Handshake::Status> status = server->Feed(AsBytes(bad));
    if (status) {
      EXPECT_EQ(*status, Handshake::Status::kNeedMore);
    }
  }
  for (std::size_t i = 0; i < 400; ++i) {
    std::unique_ptr<Handshake> server = std::move(*StartHandshake(test::TestIdentity().context));
    OpenSslClient client;
    client.Handshake({});
    ASSERT_TRUE(server->Feed(AsBytes(client.TakeOutput())));
    ASSERT_TRUE(client.Handshake(server->TakeOutput()));
    std::string flight = client.TakeOutput();
    if (i >= flight.size()) break;
    flight[i] = static_cast<char>(flight[i] ^ 0xff);
    const Result<Handshake::Status> status = server->Feed(AsBytes(flight));
    EXPECT_TRUE(!status || *status == Handshake::Status::kNeedMore) << i;
    if (!status && i > 6 + 5) {
      EXPECT_FALSE(server->TakeOutput().empty()) << "no alert " << i;
    }
    EXPECT_FALSE(server->Finish());
  }
}

}  // namespace
}  // namespace ringscale::core::tls
