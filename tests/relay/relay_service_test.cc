// The whole relay on real rings, under each engine and with each transport.
#include "relay/app/relay_service.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/net/socket_options.h"
#include "core/net/udp_socket.h"
#include "relay/app/tcp_progress.h"
#include "relay/stun/responder.h"
#include "tests/relay/relay_service_support.h"
#include "tests/sim/sim_client.h"

namespace ringscale::relay::test {
namespace {

INSTANTIATE_TEST_SUITE_P(All, RelayServiceTest, testing::ValuesIn(AllVariants()), NameOf);
INSTANTIATE_TEST_SUITE_P(Kernel, RelayServiceTest, testing::ValuesIn(KernelVariants()), NameOf);

// What the kernel says about a socket, and what it cannot.
TEST(TcpProgressTest, KnowsTcpAndWhatIsNot) {
  const auto acknowledged = [](int fd) { return ReadTcpProgress(nullptr, fd).acknowledged; };
  const auto [client, server] = TcpPair();
  EXPECT_EQ(acknowledged(server.get()), 0u);
  ASSERT_EQ(send(server.get(), "hello", 5, MSG_NOSIGNAL), 5);
  char buffer[5];
  ASSERT_EQ(recv(client.get(), buffer, sizeof buffer, MSG_WAITALL), 5);
  EXPECT_LE(acknowledged(server.get()), 5u);
  EXPECT_LE(TcpRtt(server.get()), RttClass::kMore);
  std::array<int, 2> pair{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  const core::Fd one(pair[0]);
  const core::Fd other(pair[1]);
  EXPECT_EQ(TcpRtt(one.get()), RttClass::kNotTcp);
  const std::uint64_t before = acknowledged(one.get());
  EXPECT_GT(acknowledged(one.get()), before) << "never taken for stuck";
  EXPECT_EQ(TcpRtt(-1), RttClass::kError);
  EXPECT_EQ(acknowledged(-1), 0u);
}

TEST(TcpProgressTest, SaysWhenTheWindowIsClosed) {
  const auto [client, server] = TcpPair();
  EXPECT_FALSE(ReadTcpProgress(nullptr, server.get()).window_closed) << "nothing waits";
  const std::vector<char> bytes(std::size_t{1} << 20);
  while (send(server.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  // Its kernel acknowledges the last bytes that fit.
  while (!ReadTcpProgress(nullptr, server.get()).window_closed) {
  }
}

TEST_P(RelayServiceTest, PacketsOfAllSizesPassBothWays) {
  auto a = Connect();
  auto b = Connect();
  WaitForRoute(*a, *b);
  WaitForRoute(*b, *a);
  for (int i = 0; i < 200; ++i) {
    Frame packet(i % 20 == 19 ? 65536 : rng_.Below(3000));
    for (auto& byte : packet) byte = static_cast<std::uint8_t>(rng_.Next());
    Client& from = i % 2 == 0 ? *a : *b;
    Client& to = i % 2 == 0 ? *b : *a;
    from.SendPacket(to.key(), packet);
    const Frame frame = ReceivePacket(to);
    ASSERT_EQ(frame.size(), kPacketFrameOverhead + packet.size());
    EXPECT_TRUE(std::equal(packet.begin(), packet.end(), frame.begin() + kPacketFrameOverhead));
    EXPECT_TRUE(
        std::equal(from.key().raw.begin(), from.key().raw.end(), frame.begin() + kHeaderBytes));
  }
  service_->Stop({});
  EXPECT_NE(registry_.Render().find("ringscale_relay_packets_received_total"), std::string::npos);
}

TEST_P(RelayServiceTest, AFloodArrivesInOrderAndUndamaged) {
  auto a = Connect();
  auto b = Connect();
  WaitForRoute(*a, *b);
  constexpr std::uint32_t kPackets = 20'000;
  // Some are dropped when the reader falls behind, on a slow machine by their age
  // even the last of a fixed number: it is sent until enough have been read.
  const std::jthread sender([&](const std::stop_token& enough) {
    for (std::uint32_t i = 0; !enough.stop_requested();) {
      Frame bytes;
      for (int k = 0; k < 20; ++k, ++i) {
        Frame packet(4 + i % 1400, static_cast<std::uint8_t>(i));
        core::StoreBe32(packet.data(), i);
        const Frame frame = sim::SendPacketFrame(b->key(), packet);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
      }
      a->Send(bytes);
    }
  });
  std::int64_t last = -1;
  while (last < kPackets) {
    const Frame frame = ReceivePacket(*b);
    ASSERT_GE(frame.size(), kPacketFrameOverhead + 4) << "after " << last;
    const std::uint32_t number = core::LoadBe32(frame.data() + kPacketFrameOverhead);
    ASSERT_GT(static_cast<std::int64_t>(number), last);
    ASSERT_EQ(frame.size(), kPacketFrameOverhead + 4 + number % 1400);
    for (std::size_t at = kPacketFrameOverhead + 4; at < frame.size(); ++at) {
      ASSERT_EQ(frame[at], static_cast<std::uint8_t>(number));
    }
    last = number;
  }
}

TEST_P(RelayServiceTest, AReceiverThatPausesGetsNoDamagedByte) {
  auto a = Connect();
  auto b = Connect();
  auto c = Connect();
  WaitForRoute(*a, *b);
  WaitForRoute(*a, *c);
  // Far more than the sockets hold: queued, copied, dropped.
  constexpr std::uint32_t kPackets = 10'000;
  const auto numbered = [](std::uint32_t i) {
    Frame packet(1400, static_cast<std::uint8_t>(i));
    core::StoreBe32(packet.data(), i);
    return packet;
  };
  for (std::uint32_t i = 0; i < kPackets; ++i) {
    a->SendPacket(b->key(), numbered(i));
    if (i % 100 == 0) {
      a->SendPacket(c->key(), numbered(i));
      ASSERT_FALSE(ReceivePacket(*c).empty()) << "a paused client delays another";
    }
  }
  std::int64_t last = -1;
  // Any of those may have been dropped, for a slow machine by its age even the last:
  // until one arrives that was sent while `b` was reading.
  for (std::uint32_t next = kPackets; last < std::int64_t{kPackets}; ++next) {
    a->SendPacket(b->key(), numbered(next));
    const Frame frame = ReceivePacket(*b);
    ASSERT_EQ(frame.size(), kPacketFrameOverhead + 1400);
    const std::uint32_t number = core::LoadBe32(frame.data() + kPacketFrameOverhead);
    ASSERT_GT(static_cast<std::int64_t>(number), last);
    for (std::size_t at = kPacketFrameOverhead + 4; at < frame.size(); ++at) {
      ASSERT_EQ(frame[at], static_cast<std::uint8_t>(number));
    }
    last = number;
  }
}

TEST_P(RelayServiceTest, ClientsComeGoAndBreak) {
  auto a = Connect();
  for (int i = 0; i < 200; ++i) {
    auto b = Connect();
    const core::NodePublic key = b->key();
    EXPECT_EQ(presence_.Here(key), 1);
    // Half a frame, then gone; every other one by reset.
    const Frame frame = sim::SendPacketFrame(a->key(), Frame(500, 1));
    b->Send(core::Bytes(frame).first(100));
    if (i % 2 == 0) {
      const linger reset{1, 0};
      setsockopt(b->fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    b->CloseFd();
  }
  Ping(*a);
}

TEST_P(RelayServiceTest, ARevokedKeyIsClosedAndStaysOut) {
  auto a = Connect();
  admission_.Remove(a->key());
  service_->CloseKey(a->key());
  EXPECT_TRUE(a->SeesTheEnd());
  // Its login was under way while the key was removed.
  auto late = Connect(a->key(), false);
  EXPECT_TRUE(late->SeesTheEnd());
  EXPECT_TRUE(Connect(a->key(), true) != nullptr);
}

TEST_P(RelayServiceTest, StunIsAnsweredFromTheAddressThatWasAsked) {
  std::vector<core::Fd> sockets;
  std::vector<std::uint16_t> ports;
  for (const char* listen : {":0", "127.0.0.78:0"}) {
    auto socket = core::net::OpenUdpSocket(*core::net::ParseListenAddress(listen));
    ASSERT_TRUE(socket.has_value()) << socket.error().message;
    ports.push_back(core::net::LocalAddress(socket->fd.get()).port);
    sockets.push_back(std::move(socket->fd));
  }
  service_->AttachStun(std::move(sockets));
  std::array<std::uint8_t, 12> transaction{1, 2, 3};
  const auto request = MakeStunRequest(transaction);
  const std::array<std::pair<const char*, std::uint16_t>, 3> targets{
      {{"127.0.0.1", ports[0]}, {"127.0.0.77", ports[0]}, {"127.0.0.78", ports[1]}}};
  for (const auto& [address, port] : targets) {
    core::Fd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    inet_pton(AF_INET, address, &to.sin_addr);
    const std::uint8_t junk[] = {1, 2, 3};
    sendto(udp.get(), junk, sizeof(junk), 0, reinterpret_cast<sockaddr*>(&to), sizeof(to));
    sendto(udp.get(), request.data(), request.size(), 0, reinterpret_cast<sockaddr*>(&to),
           sizeof(to));
    pollfd wait{udp.get(), POLLIN, 0};
    ASSERT_EQ(poll(&wait, 1, kPatienceMs), 1);
    std::array<std::uint8_t, 100> reply;
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    ASSERT_EQ(recvfrom(udp.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from),
                       &size),
              32);
    EXPECT_EQ(from.sin_addr.s_addr, to.sin_addr.s_addr);
    EXPECT_EQ(reply[1], 0x01);
    sockaddr_in local{};
    size = sizeof(local);
    getsockname(udp.get(), reinterpret_cast<sockaddr*>(&local), &size);
    const std::uint16_t mapped = core::LoadBe16(reply.data() + 26) ^ 0x2112;
    EXPECT_EQ(mapped, ntohs(local.sin_port));
  }
}

TEST_P(RelayServiceTest, StopEndsEverybodyAndAddAfterItIsHarmless) {
  auto a = Connect();
  auto b = Connect();
  service_->Stop(core::Millis(100));
  EXPECT_TRUE(a->SeesTheEnd());
  EXPECT_TRUE(b->SeesTheEnd());
  EXPECT_EQ(presence_.Here(a->key()), 0);
  EXPECT_TRUE(Connect(a->key())->SeesTheEnd());
  service_->CloseKey(a->key());
  service_->Stop({});
}

}  // namespace
}  // namespace ringscale::relay::test
