// A relay on real rings with clients on loopback sockets, for tests of the whole
// service under each engine and each transport.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "relay/app/admission_set.h"
#include "relay/app/relay_service.h"
#include "tests/sim/sim_client.h"
#include "tests/support/real_sockets.h"

namespace ringscale::relay::test {

using sim::Frame;

constexpr int kPatienceMs = 20'000;

using tests::TcpPair;

class Client {
 public:
  Client(core::Fd fd, const core::NodePublic& key, std::unique_ptr<core::tls::RecordKeys> tls)
      : fd_(std::move(fd)), key_(key), tls_(std::move(tls)) {}

  [[nodiscard]] const core::NodePublic& key() const { return key_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void CloseFd() { fd_.Reset(); }

  void Send(core::Bytes bytes) {
    if (tls_ == nullptr) return SendRaw(bytes);
    SendRaw(Seal(bytes));
  }
  [[nodiscard]] std::vector<std::uint8_t> Seal(core::Bytes bytes) {
    std::vector<std::uint8_t> sealed(core::tls::SealedSize(*tls_, bytes.size()));
    const core::Bytes pieces[] = {bytes};
    EXPECT_EQ(core::tls::SealRecords(*tls_, pool_, pieces, sealed), sealed.size());
    return sealed;
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

enum class Transport : std::uint8_t { kPlain, kUserTls, kKernelTls };

struct Variant {
  core::io::RingKind ring;
  std::uint16_t shards;
  Transport transport;
};

inline std::string NameOf(const testing::TestParamInfo<Variant>& test) {
  constexpr std::array<const char*, 3> kTransports = {"Plain", "Tls", "KernelTls"};
  const Variant& v = test.param;
  return std::string(v.ring == core::io::RingKind::kUring ? "Uring" : "Epoll") +
         std::to_string(v.shards) + kTransports[static_cast<std::size_t>(v.transport)];
}

// Each engine with each transport that is our own.
inline std::vector<Variant> AllVariants() {
  std::vector<Variant> variants = {{core::io::RingKind::kUring, 1, Transport::kPlain},
                                   {core::io::RingKind::kEpoll, 1, Transport::kUserTls}};
  for (const auto ring : {core::io::RingKind::kUring, core::io::RingKind::kEpoll}) {
    for (const auto transport : {Transport::kPlain, Transport::kUserTls}) {
      variants.push_back({ring, 2, transport});
    }
  }
  return variants;
}

inline std::vector<Variant> KernelVariants() {
  if (!tests::KernelHasTls()) return {};
  return {{core::io::RingKind::kUring, 2, Transport::kKernelTls},
          {core::io::RingKind::kEpoll, 1, Transport::kKernelTls}};
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
    options_.tls = kernel() ? TlsTransport::kKernel : TlsTransport::kUser;
    options_.ring.buffer_count = 64;
    // A receiver may pause for as long as a slow machine takes to send to it.
    options_.times.write_timeout = core::Seconds(60);
    options_.limits.queue.max_age_ms = 60'000;
    options_.clients_together = 1;
    options_.tcp.user_timeout = core::Seconds(120);
    options_.presence = &presence_;
    options_.admission = &admission_;
    auto service = RelayService::Start(options_, registry_);
    ASSERT_TRUE(service.has_value()) << service.error().message;
    service_ = std::move(*service);
    EXPECT_EQ(service_->shard_count(), GetParam().shards);
  }

  static bool kernel() { return GetParam().transport == Transport::kKernelTls; }
  sim::TlsPair MakeKeys() {
    return sim::MakeTlsPair(rng_, kernel() ? sim::kGcmSuites : sim::kAllSuites);
  }
  std::unique_ptr<Client> Connect(const core::NodePublic& key, bool admit = true) {
    return Connect(key, admit, MakeKeys());
  }
  std::unique_ptr<Client> Connect(const core::NodePublic& key, bool admit, sim::TlsPair pair) {
    auto [client_end, server_end] = TcpPair();
    LoggedInClient client;
    client.fd = std::move(server_end);
    client.key = key;
    const bool tls = GetParam().transport != Transport::kPlain;
    if (tls) client.tls = std::move(pair.server);
    if (admit) admission_.Add(key);
    service_->Add(std::move(client));
    return std::make_unique<Client>(std::move(client_end), key,
                                    tls ? std::move(pair.client) : nullptr);
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

}  // namespace ringscale::relay::test
