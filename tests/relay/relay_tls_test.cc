// TLS records of relay clients.
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "tests/relay/shard_support.h"

namespace ringscale::relay {
namespace {

class RelayTlsTest : public testing::Test {
 protected:
  RelayWorld world_{WorldOptions{}};
};

TEST_F(RelayTlsTest, RecordsCutAtEveryByteAreOpened) {
  SimClient& a = world_.Connect({.tls = true});
  SimClient& b = world_.Connect();
  world_.Run(core::Millis(3));
  for (std::size_t cut = 1; cut < 60; ++cut) {
    // The client writes whole records; the network shows them in two parts.
    world_.SendPacket(a, b.key(), Text("abc"));
    auto& inbound = a.socket().inbound;
    const Frame held(inbound.begin() + static_cast<std::ptrdiff_t>(cut), inbound.end());
    inbound.resize(cut);
    world_.Run(core::Millis(1));
    a.SendRaw(held);
    ASSERT_EQ(world_.Receive(b), RecvPacket(a.key(), Text("abc"))) << cut;
  }
}

TEST_F(RelayTlsTest, ADamagedRecordEndsTheConnectionWithAnAlert) {
  SimClient& a = world_.Connect({.tls = true});
  SimClient& b = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  world_.SendPacket(a, b.key(), Text("abc"));
  a.socket().inbound.back() ^= 1;
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(a.complaint(), "TLS: alert from the peer");
  EXPECT_EQ(world_.Closed(CloseReason::kTlsError), 1u);
  EXPECT_FALSE(b.closed());
  EXPECT_TRUE(world_.Silent(b));
}

TEST_F(RelayTlsTest, PlaintextInsteadOfRecordsEndsTheConnection) {
  SimClient& a = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  a.SendRaw(Text("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(world_.Closed(CloseReason::kTlsError), 1u);
}

TEST_F(RelayTlsTest, KeyUpdatesAreFollowedAndAnsweredOnce) {
  SimClient& a = world_.Connect({.tls = true});
  SimClient& b = world_.Connect();
  world_.Run(core::Millis(3));
  a.SendKeyUpdate(world_.aead(), true);
  a.SendKeyUpdate(world_.aead(), true);
  world_.Run(core::Millis(3));
  EXPECT_FALSE(a.socket().outbound.empty()) << "answered although nothing was to be sent";
  world_.SendPacket(a, b.key(), Text("new key"));
  EXPECT_EQ(world_.Receive(b), RecvPacket(a.key(), Text("new key")));
  world_.SendPacket(b, a.key(), Text("also"));
  EXPECT_EQ(world_.Receive(a), RecvPacket(b.key(), Text("also")));
  EXPECT_EQ(a.complaint(), "");
}

TEST_F(RelayTlsTest, AFloodOfKeyUpdatesIsCutOff) {
  SimClient& a = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  for (int i = 0; i < 100; ++i) a.SendKeyUpdate(world_.aead(), true);
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
}

TEST_F(RelayTlsTest, CloseNotifyIsAnEnd) {
  SimClient& a = world_.Connect({.tls = true});
  world_.Run(core::Millis(3));
  a.SendCloseNotify(world_.aead());
  EXPECT_TRUE(world_.RunUntilClosed(a, core::Millis(100)));
  EXPECT_EQ(world_.Closed(CloseReason::kClientClosed), 1u);
  EXPECT_TRUE(a.got_close_notify());
}

TEST_F(RelayTlsTest, LeftoverCiphertextOfTheHandshakeIsOpenedFirst) {
  SimClient& b = world_.Connect();
  world_.Run(core::Millis(3));
  sim::TlsPair pair = sim::MakeTlsPair(world_.rng());
  // A record that arrived in part together with the login.
  const Frame frame = sim::SendPacketFrame(b.key(), Text("handover"));
  std::vector<std::uint8_t> record(core::tls::SealedSize(*pair.client, frame.size()));
  const core::Bytes pieces[] = {frame};
  ASSERT_EQ(core::tls::SealRecords(*pair.client, world_.aead(), pieces, record), record.size());

  sim::SimSocket& socket = world_.net().Open();
  LoggedInClient client;
  client.fd = core::Fd(socket.fd);
  client.key = sim::RandomKey(world_.rng());
  client.tls = std::move(pair.server);
  client.ciphertext.assign(record.begin(), record.begin() + 30);
  const core::NodePublic key = client.key;
  socket.inbound.assign(record.begin() + 30, record.end());
  world_.Add(std::move(client));
  EXPECT_EQ(world_.Receive(b), RecvPacket(key, Text("handover")));
}

}  // namespace
}  // namespace ringscale::relay
