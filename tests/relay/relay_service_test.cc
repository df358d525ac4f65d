// The whole relay on real rings, with clients on loopback sockets.
#include "relay/app/relay_service.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/hex.h"
#include "core/net/udp_socket.h"
#include "relay/app/admission_set.h"
#include "relay/app/tcp_progress.h"
#include "relay/stun/responder.h"
#include "tests/sim/sim_client.h"

namespace ringscale::relay {
namespace {

using sim::Frame;

constexpr int kPatienceMs = 20'000;

// A connected pair over loopback TCP: client end, server end.
std::pair<core::Fd, core::Fd> TcpPair() {
  core::Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(listener.get(), 1), 0);
  socklen_t size = sizeof(address);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  core::Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  core::Fd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(server.valid());
  return {std::move(client), std::move(server)};
}

class Client {
 public:
  Client(core::Fd fd, const core::NodePublic& key, std::unique_ptr<core::tls::RecordKeys> tls)
      : fd_(std::move(fd)), key_(key), tls_(std::move(tls)) {}

  [[nodiscard]] const core::NodePublic& key() const { return key_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void CloseFd() { fd_.Reset(); }

  void Send(core::Bytes bytes) {
    std::vector<std::uint8_t> sealed;
    if (tls_ != nullptr) {
      sealed.resize(core::tls::SealedSize(*tls_, bytes.size()));
      const core::Bytes pieces[] = {bytes};
      ASSERT_EQ(core::tls::SealRecords(*tls_, pool_, pieces, sealed), sealed.size());
      bytes = sealed;
    }
    SendRaw(bytes);
  }
  // Sealed records, or nonsense.
  void SendRaw(core::Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
  }
  void SendPacket(const core::NodePublic& to, core::Bytes packet) {
    Send(sim::SendPacketFrame(to, packet));
  }
  void SendAlert(core::tls::Alert alert) {
    std::array<std::uint8_t, core::tls::kSealedAlertSize> record;
    SendRaw(core::Bytes(record).first(core::tls::SealAlert(*tls_, pool_, alert, record)));
  }
  void SendKeyUpdate(bool ask_peer) {
    std::array<std::uint8_t, core::tls::kSealedKeyUpdateSize> record;
    SendRaw(core::Bytes(record).first(core::tls::SealKeyUpdate(*tls_, pool_, record, ask_peer)));
  }
  // What the server said last before it closed.
  [[nodiscard]] std::optional<core::tls::Alert> alert() const { return alert_; }
  [[nodiscard]] const core::tls::RecordKeys& tls() const { return *tls_; }

  // The next frame; empty at the end of the stream or when patience ends.
  Frame Receive(int patience_ms = kPatienceMs) {
    for (;;) {
      const auto step = reader_.Next(core::MutableBytes(plain_).subspan(done_));
      done_ += step.consumed;
      if (step.status == ClientFrameReader::Status::kFrame) {
        return {step.frame.frame.begin(), step.frame.frame.end()};
      }
      if (step.status == ClientFrameReader::Status::kBadLength) {
        ADD_FAILURE() << "a damaged stream";
        return {};
      }
      plain_.erase(plain_.begin(), plain_.begin() + static_cast<std::ptrdiff_t>(done_));
      done_ = 0;
      if (!Fill(patience_ms)) return {};
    }
  }
  // True when the server closes the connection (what comes before is ignored).
  bool SeesTheEnd() {
    while (!ended_) {
      plain_.clear();
      done_ = 0;
      if (!Fill(kPatienceMs)) break;
    }
    return ended_;
  }

 private:
  bool Fill(int patience_ms) {
    pollfd wait{fd_.get(), POLLIN, 0};
    if (poll(&wait, 1, patience_ms) <= 0) return false;
    std::array<std::uint8_t, 65536> buffer;
    const ssize_t size = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) {
      ended_ = true;
      return false;
    }
    auto& into = tls_ != nullptr ? cipher_ : plain_;
    into.insert(into.end(), buffer.begin(), buffer.begin() + size);
    std::size_t used = 0;
    while (tls_ != nullptr) {
      const auto event =
          core::tls::RecordReader::Next(*tls_, pool_, core::MutableBytes(cipher_).subspan(used));
      if (event.kind == core::tls::RecordEvent::Kind::kNeedMore) break;
      if (event.peer_alert) alert_ = event.alert;
      if (event.kind == core::tls::RecordEvent::Kind::kFatal) {
        if (event.peer_alert) {
          ended_ = true;
          return false;
        }
        ADD_FAILURE() << "a damaged record: " << event.reason;
        return false;
      }
      plain_.insert(plain_.end(), event.data.begin(), event.data.end());
      used += event.consumed;
    }
    cipher_.erase(cipher_.begin(), cipher_.begin() + static_cast<std::ptrdiff_t>(used));
    return true;
  }

  core::Fd fd_;
  core::NodePublic key_;
  std::unique_ptr<core::tls::RecordKeys> tls_;
  core::tls::AeadPool pool_{core::tls::AeadPool::Engine::kOpenSsl};
  std::vector<std::uint8_t> cipher_;
  std::vector<std::uint8_t> plain_;
  std::size_t done_ = 0;
  ClientFrameReader reader_;
  bool ended_ = false;
  std::optional<core::tls::Alert> alert_;
};

class Presence final : public PresenceListener {
 public:
  void OnRelayPresence(const core::NodePublic& key, bool present) override {
    const std::lock_guard lock(mutex_);
    here_[key] += present ? 1 : -1;
  }
  int Here(const core::NodePublic& key) {
    const std::lock_guard lock(mutex_);
    return here_[key];
  }

 private:
  std::mutex mutex_;
  std::map<core::NodePublic, int> here_;
};

struct Variant {
  core::io::RingKind ring;
  std::uint16_t shards;
  bool tls;
  bool kernel = false;  // TLS is the kernel's
};

std::string NameOf(const testing::TestParamInfo<Variant>& test) {
  const Variant& v = test.param;
  return std::string(v.ring == core::io::RingKind::kUring ? "Uring" : "Epoll") +
         std::to_string(v.shards) +
         (v.kernel ? "KernelTls"
          : v.tls  ? "Tls"
                   : "Plain");
}

// Exist where whoever runs the tests says that the kernel has TLS: elsewhere they
// could only be skipped.
std::vector<Variant> KernelVariants() {
  if (std::getenv("RINGSCALE_TEST_KERNEL_TLS") == nullptr) return {};
  return {{core::io::RingKind::kUring, 2, true, true}, {core::io::RingKind::kEpoll, 1, true, true}};
}

class RelayServiceTest : public testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    if (GetParam().ring == core::io::RingKind::kUring) {
      if (auto probe = core::io::ProbeIoUring(); !probe) GTEST_SKIP() << probe.error().message;
    }
    options_.shards = GetParam().shards;
    options_.pin_threads = false;
    options_.ring_kind = GetParam().ring;
    options_.tls = GetParam().kernel ? TlsTransport::kKernel : TlsTransport::kUser;
    options_.ring.buffer_count = 64;
    // A receiver may pause for as long as a slow machine takes to send to it.
    options_.times.write_timeout = core::Seconds(60);
    options_.tcp_user_timeout = core::Seconds(120);
    options_.presence = &presence_;
    options_.admission = &admission_;
    auto service = RelayService::Start(options_, registry_);
    ASSERT_TRUE(service.has_value()) << service.error().message;
    service_ = std::move(*service);
    EXPECT_EQ(service_->shard_count(), GetParam().shards);
  }

  sim::TlsPair MakeKeys() {
    return sim::MakeTlsPair(rng_, GetParam().kernel ? sim::kGcmSuites : sim::kAllSuites);
  }
  std::unique_ptr<Client> Connect(const core::NodePublic& key, bool admit = true) {
    return Connect(key, admit, MakeKeys());
  }
  std::unique_ptr<Client> Connect(const core::NodePublic& key, bool admit, sim::TlsPair pair) {
    auto [client_end, server_end] = TcpPair();
    LoggedInClient client;
    client.fd = std::move(server_end);
    client.key = key;
    if (GetParam().tls) client.tls = std::move(pair.server);
    if (admit) admission_.Add(key);
    service_->Add(std::move(client));
    return std::make_unique<Client>(std::move(client_end), key,
                                    GetParam().tls ? std::move(pair.client) : nullptr);
  }
  std::unique_ptr<Client> Connect() {
    auto client = Connect(RandomKey());
    Ping(*client);
    return client;
  }
  core::NodePublic RandomKey() {
    core::NodePublic key;
    for (auto& byte : key.raw) byte = static_cast<std::uint8_t>(rng_.Next());
    return key;
  }
  // Of all shards together, once the service has stopped.
  std::uint64_t Metric(const std::string& sample) {
    const std::string all = registry_.Render();
    const std::size_t at = all.find("\nringscale_relay_" + sample + " ");
    if (at == std::string::npos) return 0;
    return std::stoull(all.substr(all.find(' ', at + 1) + 1));
  }
  // Returns when the shard has taken the client on.
  static void Ping(Client& client) {
    const Frame eight(8, 0x55);
    client.Send(sim::MakeFrame(FrameType::kPing, eight));
    EXPECT_EQ(client.Receive(), sim::MakeFrame(FrameType::kPong, eight));
  }
  // Other shards hear of a new client a moment later: until then disco packets
  // are answered with "not here", and nothing follows one that arrived.
  static void WaitForRoute(Client& from, Client& to) {
    Frame disco(kMinDiscoBytes, 1);
    std::copy_n(kDiscoMagic, sizeof(kDiscoMagic), disco.begin());
    for (int i = 0; i < 1000; ++i) {
      from.SendPacket(to.key(), disco);
      const Frame frame = to.Receive(50);
      if (!frame.empty()) return;
    }
    ADD_FAILURE() << "no route";
  }
  static Frame ReceivePacket(Client& client, int patience_ms = kPatienceMs) {
    for (;;) {
      Frame frame = client.Receive(patience_ms);
      if (frame.empty() || frame[0] == static_cast<std::uint8_t>(FrameType::kRecvPacket)) {
        const bool disco = frame.size() == kPacketFrameOverhead + kMinDiscoBytes;
        if (!disco) return frame;
      }
    }
  }

  sim::Rng rng_{42};
  AdmissionSet admission_;
  Presence presence_;
  core::MetricsRegistry registry_;
  RelayServiceOptions options_;
  std::unique_ptr<RelayService> service_;
};

// What the kernel says about a socket, and what it cannot.
TEST(TcpProgressTest, KnowsTcpAndWhatIsNot) {
  const auto [client, server] = TcpPair();
  EXPECT_EQ(TcpBytesAcknowledged(nullptr, server.get()), 0u);
  ASSERT_EQ(send(server.get(), "hello", 5, MSG_NOSIGNAL), 5);
  char buffer[5];
  ASSERT_EQ(recv(client.get(), buffer, sizeof buffer, MSG_WAITALL), 5);
  EXPECT_LE(TcpBytesAcknowledged(nullptr, server.get()), 5u);
  EXPECT_LE(TcpRtt(server.get()), RttClass::kMore);
  std::array<int, 2> pair{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  const core::Fd one(pair[0]);
  const core::Fd other(pair[1]);
  EXPECT_EQ(TcpRtt(one.get()), RttClass::kNotTcp);
  const std::uint64_t before = TcpBytesAcknowledged(nullptr, one.get());
  EXPECT_GT(TcpBytesAcknowledged(nullptr, one.get()), before) << "never taken for stuck";
  EXPECT_EQ(TcpRtt(-1), RttClass::kError);
  EXPECT_EQ(TcpBytesAcknowledged(nullptr, -1), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, RelayServiceTest,
                         testing::Values(Variant{core::io::RingKind::kUring, 1, false},
                                         Variant{core::io::RingKind::kUring, 2, true},
                                         Variant{core::io::RingKind::kEpoll, 1, true},
                                         Variant{core::io::RingKind::kEpoll, 2, false}),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Kernel, RelayServiceTest, testing::ValuesIn(KernelVariants()), NameOf);

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
  std::thread sender([&] {
    for (std::uint32_t i = 0; i < kPackets;) {
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
  // Some may be dropped when the reader falls behind; the last ones never are.
  std::uint32_t count = 0;
  std::int64_t last = -1;
  while (last + 1 < kPackets) {
    const Frame frame = ReceivePacket(*b);
    ASSERT_GE(frame.size(), kPacketFrameOverhead + 4) << "after " << count;
    const std::uint32_t number = core::LoadBe32(frame.data() + kPacketFrameOverhead);
    ASSERT_GT(static_cast<std::int64_t>(number), last);
    ASSERT_EQ(frame.size(), kPacketFrameOverhead + 4 + number % 1400);
    for (std::size_t at = kPacketFrameOverhead + 4; at < frame.size(); ++at) {
      ASSERT_EQ(frame[at], static_cast<std::uint8_t>(number));
    }
    last = number;
    ++count;
  }
  sender.join();
  EXPECT_GT(count, kPackets / 10);
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
  std::vector<core::SocketAddress> targets;
  std::uint16_t port = 0;
  {
    auto any = core::net::ParseListenAddress(":0");
    ASSERT_TRUE(any.has_value());
    auto socket = core::net::OpenUdpSocket(*any);
    ASSERT_TRUE(socket.has_value()) << socket.error().message;
    sockaddr_storage native{};
    socklen_t size = sizeof(native);
    getsockname(socket->fd.get(), reinterpret_cast<sockaddr*>(&native), &size);
    port = core::SocketAddress::FromNative(native).port;
    sockets.push_back(std::move(socket->fd));
  }
  service_->AttachStun(std::move(sockets));
  std::array<std::uint8_t, 12> transaction{1, 2, 3};
  const auto request = MakeStunRequest(transaction);
  for (const char* address : {"127.0.0.1", "127.0.0.77"}) {
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

// What is particular about TLS in the kernel, against the real one.
class KernelTlsServiceTest : public RelayServiceTest {
 protected:
  // Sends packets until the client is told goodbye, or `count` have arrived.
  int Deliver(Client& from, Client& to, int count) {
    for (int i = 0; i < count; ++i) {
      from.SendPacket(to.key(), Frame(900, static_cast<std::uint8_t>(i)));
      const Frame frame = ReceivePacket(to);
      if (frame.empty()) return i;
      EXPECT_EQ(frame.back(), static_cast<std::uint8_t>(i));
    }
    return count;
  }
  const bool rekeys_ = core::tls::ProbeKernelTls({}).rekeys;
};

INSTANTIATE_TEST_SUITE_P(Kernel, KernelTlsServiceTest, testing::ValuesIn(KernelVariants()), NameOf);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelTlsServiceTest);

TEST_P(KernelTlsServiceTest, EveryGcmClientMovesAndOthersStay) {
  auto a = Connect();
  auto b = Connect();
  sim::TlsPair chacha = MakeKeys();
  for (auto* keys : {chacha.server.get(), chacha.client.get()}) {
    keys->suite = core::tls::Suite::kChacha20Poly1305Sha256;
    for (auto* direction : {&keys->receive, &keys->send}) {
      const std::vector<std::uint8_t> secret(direction->secret, direction->secret + 32);
      ASSERT_TRUE(core::tls::InstallTrafficSecret(keys->suite, secret, *direction));
    }
  }
  auto c = Connect(RandomKey(), true, std::move(chacha));
  Ping(*c);
  WaitForRoute(*a, *c);
  WaitForRoute(*c, *b);
  EXPECT_EQ(Deliver(*a, *c, 20), 20);
  EXPECT_EQ(Deliver(*c, *b, 20), 20);
  service_->Stop({});
  EXPECT_EQ(Metric("tls_clients_total{transport=\"kernel\"}"), 2u);
  EXPECT_EQ(Metric("tls_clients_total{transport=\"user\"}"), 1u);
  EXPECT_EQ(Metric("kernel_tls_refused_total{reason=\"cipher\"}"), 1u);
  EXPECT_EQ(Metric("kernel_tls_refused_total{reason=\"kernel\"}"), 0u);
}

TEST_P(KernelTlsServiceTest, AlertsGoBothWays) {
  auto polite = Connect();
  polite->SendAlert(core::tls::Alert::kCloseNotify);
  EXPECT_TRUE(polite->SeesTheEnd());
  EXPECT_EQ(polite->alert(), core::tls::Alert::kCloseNotify);

  auto broken = Connect();
  broken->SendAlert(core::tls::Alert::kInternalError);
  EXPECT_TRUE(broken->SeesTheEnd());

  auto liar = Connect();
  std::vector<std::uint8_t> record(5 + 40, 0x5a);
  std::copy_n(std::array<std::uint8_t, 5>{23, 3, 3, 0, 40}.begin(), 5, record.begin());
  liar->SendRaw(record);
  EXPECT_TRUE(liar->SeesTheEnd());

  auto revoked = Connect();
  service_->CloseKey(revoked->key());
  EXPECT_TRUE(revoked->SeesTheEnd());
  EXPECT_EQ(revoked->alert(), core::tls::Alert::kCloseNotify);

  auto stopped = Connect();
  service_->Stop(core::Millis(100));
  EXPECT_TRUE(stopped->SeesTheEnd());
  EXPECT_EQ(stopped->alert(), core::tls::Alert::kCloseNotify);
  EXPECT_EQ(Metric("closed_total{reason=\"client_closed\"}"), 1u);
  EXPECT_EQ(Metric("closed_total{reason=\"tls_error\"}"), 2u);
}

TEST_P(KernelTlsServiceTest, AKeyUpdateIsFollowedOrEndsTheConnectionInOrder) {
  auto a = Connect();
  auto b = Connect();
  WaitForRoute(*a, *b);
  for (int i = 0; i < 5; ++i) {
    a->SendKeyUpdate(i % 2 == 0);
    if (!rekeys_) {
      EXPECT_TRUE(a->SeesTheEnd());
      EXPECT_EQ(a->alert(), core::tls::Alert::kCloseNotify);
      service_->Stop({});
      EXPECT_EQ(Metric("closed_total{reason=\"key_update\"}"), 1u);
      return;
    }
    EXPECT_EQ(Deliver(*a, *b, 40), 40);
    Ping(*a);
  }
  service_->Stop({});
  EXPECT_EQ(Metric("kernel_tls_key_changes_total"), 5u + 3u);
}

TEST_P(KernelTlsServiceTest, AUsedUpKeyIsChangedOrEndsTheConnectionInOrder) {
  constexpr std::uint32_t kLimit = 50;
  auto a = Connect();
  sim::TlsPair keys = MakeKeys();
  keys.server->rekey_after = kLimit;
  auto b = Connect(RandomKey(), true, std::move(keys));
  Ping(*b);
  WaitForRoute(*a, *b);
  constexpr int kPackets = 200;
  const int delivered = Deliver(*a, *b, kPackets);
  if (rekeys_) {
    EXPECT_EQ(delivered, kPackets);
    return;
  }
  EXPECT_GT(delivered, static_cast<int>(kLimit) / 4);
  EXPECT_LT(delivered, kPackets);
  EXPECT_EQ(b->alert(), core::tls::Alert::kCloseNotify);
  // The last one is the alert.
  EXPECT_LE(b->tls().receive.sequence, kLimit + 2);
  service_->Stop({});
  EXPECT_EQ(Metric("closed_total{reason=\"key_update\"}"), 1u);
}

TEST_P(KernelTlsServiceTest, RecordsReceivedInPartBeforeTheMove) {
  const Frame eight(8, 0x55);
  const Frame ping = sim::MakeFrame(FrameType::kPing, eight);
  core::tls::AeadPool pool;
  for (const bool rest_is_there : {true, false}) {
    SCOPED_TRACE(rest_is_there);
    auto [client_end, server_end] = TcpPair();
    sim::TlsPair pair = MakeKeys();
    std::vector<std::uint8_t> record(core::tls::SealedSize(*pair.client, ping.size()));
    const core::Bytes pieces[] = {ping};
    ASSERT_EQ(core::tls::SealRecords(*pair.client, pool, pieces, record), record.size());
    LoggedInClient login;
    login.fd = std::move(server_end);
    login.key = RandomKey();
    login.tls = std::move(pair.server);
    login.ciphertext.assign(record.begin(), record.begin() + 9);
    admission_.Add(login.key);
    Client client(std::move(client_end), login.key, std::move(pair.client));
    const core::Bytes rest = core::Bytes(record).subspan(9);
    if (rest_is_there) {
      client.SendRaw(rest);
      pollfd arrived{login.fd.get(), POLLIN, 0};
      ASSERT_EQ(poll(&arrived, 1, kPatienceMs), 1);
    }
    service_->Add(std::move(login));
    if (!rest_is_there) client.SendRaw(rest);
    EXPECT_EQ(client.Receive(), sim::MakeFrame(FrameType::kPong, eight));
    Ping(client);
  }
  service_->Stop({});
  EXPECT_EQ(Metric("tls_clients_total{transport=\"kernel\"}"), 1u);
  EXPECT_EQ(Metric("kernel_tls_refused_total{reason=\"partial_record\"}"), 1u);
}

// A kernel without TLS, wherever this runs.
TEST(KernelTlsFallback, ClientsAreServedInUserSpaceAndCounted) {
  RelayServiceOptions options;
  options.shards = 1;
  options.pin_threads = false;
  options.tls = TlsTransport::kKernel;
  options.tls_calls.set = [](int, int, int, const void*, socklen_t) {
    errno = ENOENT;
    return -1;
  };
  core::MetricsRegistry registry;
  auto service = RelayService::Start(options, registry);
  ASSERT_TRUE(service.has_value()) << service.error().message;
  sim::Rng rng(3);
  auto [client_end, server_end] = TcpPair();
  sim::TlsPair pair = sim::MakeTlsPair(rng, sim::kGcmSuites);
  LoggedInClient login;
  login.fd = std::move(server_end);
  login.tls = std::move(pair.server);
  Client client(std::move(client_end), login.key, std::move(pair.client));
  (*service)->Add(std::move(login));
  const Frame eight(8, 1);
  client.Send(sim::MakeFrame(FrameType::kPing, eight));
  EXPECT_EQ(client.Receive(), sim::MakeFrame(FrameType::kPong, eight));
  (*service)->Stop({});
  const std::string metrics = registry.Render();
  EXPECT_NE(metrics.find("ringscale_relay_tls_clients_total{transport=\"user\"} 1"),
            std::string::npos);
  EXPECT_NE(metrics.find("ringscale_relay_kernel_tls_refused_total{reason=\"kernel\"} 1"),
            std::string::npos);
}

}  // namespace
}  // namespace ringscale::relay
