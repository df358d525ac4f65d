// What is particular about TLS in the kernel: against the real one, and without one.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/tls/kernel_tls.h"
#include "core/tls/key_schedule.h"
#include "core/tls/records.h"
#include "relay/app/relay_service.h"
#include "tests/relay/relay_service_support.h"
#include "tests/sim/sim_client.h"

namespace ringscale::relay::test {
namespace {

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

TEST_P(KernelTlsServiceTest, HalfARecordWaitsAndDelaysNobody) {
  auto half = Connect();
  auto other = Connect();
  const Frame eight(8, 0x55);
  const std::vector<std::uint8_t> record = half->Seal(sim::MakeFrame(FrameType::kPing, eight));
  half->SendRaw(core::Bytes(record).first(9));
  for (int i = 0; i < 50; ++i) Ping(*other);
  half->SendRaw(core::Bytes(record).subspan(9));
  EXPECT_EQ(half->Receive(), sim::MakeFrame(FrameType::kPong, eight));
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
}  // namespace ringscale::relay::test
