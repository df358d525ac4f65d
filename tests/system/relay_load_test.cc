// 10,000 clients over TLS on one shard, with some among them that read slowly, not at
// all, or never say a word: every packet of everybody else arrives, whole and in
// order. Functional; how long it takes is measured by ringscale-bench.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/lib/derp_socket.h"
#include "bench/lib/packet_stream.h"
#include "core/engine/topology.h"
#include "tests/support/temp_folder.h"
#include "tests/system/relay_process.h"

namespace ringscale::tests {
namespace {

using bench::DerpSocket;
using bench::SocketScratch;
using bench::StreamCheck;
using Io = DerpSocket::Io;

constexpr std::size_t kClients = 10'000;
constexpr std::size_t kLoginThreads = 32;
// More than a front has handshakes in progress.
constexpr std::size_t kSilent = 200;
constexpr std::size_t kPacket = 1200;
// Nothing is expected to take so long: a relay that lost a packet would else hang us.
constexpr core::Duration kHangs = core::Seconds(120);

class RelayLoadTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto files = core::engine::RaiseFileLimit();
    ASSERT_TRUE(files);
    ASSERT_GE(*files, kClients + kSilent + 500) << "ulimit -Hn: this test needs more descriptors";
    relay_ = std::make_unique<RelayProcess>(folder_.path());
    target_ = relay_->target();
    tls_ = *bench::MakeBenchTlsContext("TLS_AES_128_GCM_SHA256");
  }
  void TearDown() override {
    clients_.clear();
    relay_.reset();
  }

  std::unique_ptr<DerpSocket> LogIn(SocketScratch& scratch) {
    auto socket = DerpSocket::Connect(target_, tls_, scratch);
    if (socket) return std::move(*socket);
    ADD_FAILURE() << socket.error().message;
    return nullptr;
  }

  // Connections that open and say nothing, or the first bytes of a handshake.
  void OpenSilent() {
    sockaddr_storage native{};
    const socklen_t length = target_.address.ToNative(native, false);
    for (std::size_t i = 0; i < kSilent; ++i) {
      core::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&native), length), 0);
      if (i % 2 == 0) {
        ASSERT_EQ(send(fd.get(), "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
      }
      silent_.push_back(std::move(fd));
    }
  }

  // From several threads: a login is mostly waiting.
  void LogInAll() {
    clients_.resize(kClients);
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kLoginThreads; ++i) {
      threads.emplace_back([&] {
        SocketScratch scratch(kPacket);
        for (std::size_t at = next++; at < kClients; at = next++) {
          auto socket = DerpSocket::Connect(target_, tls_, scratch);
          if (!socket) return;  // counted below
          clients_[at] = std::move(*socket);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    epoll_ = core::Fd(epoll_create1(EPOLL_CLOEXEC));
    for (std::size_t i = 0; i < kClients; ++i) {
      ASSERT_NE(clients_[i], nullptr) << "client " << i << " could not log in\n"
                                      << relay_->LogTail();
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = i;
      ASSERT_EQ(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, clients_[i]->fd(), &event), 0);
      checks_.emplace_back(static_cast<std::uint32_t>(i));
    }
  }

  // Client i sends `count` packets to client i + 1; returns when all have arrived.
  // `meanwhile` is called again and again.
  template <class Meanwhile>
  void ExchangeRound(std::size_t count, Meanwhile&& meanwhile) {
    for (std::size_t i = 0; i < kClients; ++i) {
      for (std::size_t k = 0; k < count; ++k) {
        AppendPacket(*clients_[i], scratch_, clients_[(i + 1) % kClients]->key(), kPacket,
                     [&](core::MutableBytes packet) {
                       bench::WritePacket(packet, static_cast<std::uint32_t>(i), sequence_ + k, {});
                     });
      }
      ASSERT_EQ(clients_[i]->Flush(scratch_), Io::kOk);
      if (i % 64 == 0) {
        ReadReady(0);
        meanwhile();
      }
    }
    sequence_ += count;
    const std::uint64_t expected = sequence_ * kClients;
    const core::Instant began = core::MonotonicNow();
    while (received_ < expected && !HasFailure()) {
      ReadReady(1);
      meanwhile();
      ASSERT_LT((core::MonotonicNow() - began).ns, kHangs.ns)
          << received_ << " of " << expected << " packets arrived";
    }
  }

  void ReadReady(int wait_ms) {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), wait_ms);
    for (int i = 0; i < count; ++i) {
      const std::size_t at = events[static_cast<std::size_t>(i)].data.u64;
      const DerpSocket& sender = *clients_[(at + kClients - 1) % kClients];
      const Io io = clients_[at]->Receive(scratch_, [&](const relay::FrameView& frame) {
        if (frame.type != relay::FrameType::kRecvPacket) return;
        const core::Bytes payload = frame.payload();
        const bool from_sender =
            std::equal(sender.key().raw.begin(), sender.key().raw.end(), payload.begin());
        StreamCheck& check = checks_[(at + kClients - 1) % kClients];
        EXPECT_TRUE(from_sender && payload.size() == relay::kKeyBytes + kPacket &&
                    check.Check(payload.subspan(relay::kKeyBytes)).good)
            << "client " << at;
        ++received_;
      });
      ASSERT_NE(io, Io::kClosed) << "client " << at << "\n" << relay_->LogTail();
    }
  }

  const TempFolder folder_;
  std::unique_ptr<RelayProcess> relay_;
  bench::RelayTarget target_;
  std::shared_ptr<const core::tls::ClientContext> tls_;
  SocketScratch scratch_{64 * bench::PacketWireBytes(kPacket, true)};
  core::Fd epoll_;
  std::vector<core::Fd> silent_;
  std::vector<std::unique_ptr<DerpSocket>> clients_;
  std::vector<StreamCheck> checks_;
  std::uint64_t sequence_ = 0;
  std::uint64_t received_ = 0;
};

// Somebody sends to it as fast as the relay takes it.
struct Flooded {
  std::unique_ptr<DerpSocket> sender;
  std::unique_ptr<DerpSocket> receiver;
  StreamCheck check{0};
  std::uint64_t next = 0;  // sequence number
  bool closed = false;

  void Send(SocketScratch& scratch, int packets) {
    if (sender->blocked() && sender->Resume() != Io::kOk) return;
    for (int i = 0; i < packets; ++i) {
      AppendPacket(*sender, scratch, receiver->key(), kPacket,
                   [&](core::MutableBytes packet) { bench::WritePacket(packet, 0, next++, {}); });
    }
    EXPECT_NE(sender->Flush(scratch), Io::kClosed);
  }
  void Read(SocketScratch& scratch, std::size_t most) {
    if (closed) return;
    closed = receiver->Receive(
                 scratch,
                 [&](const relay::FrameView& frame) {
                   if (frame.type != relay::FrameType::kRecvPacket) return;
                   check.Check(frame.payload().subspan(relay::kKeyBytes));
                 },
                 most) == Io::kClosed;
  }
};

TEST_F(RelayLoadTest, TenThousandExchangePacketsWhoeverElseIsThere) {
  OpenSilent();
  LogInAll();
  if (HasFatalFailure()) return;

  ExchangeRound(2, [] {});

  // One that reads 64 KiB a second, one that reads nothing; both are flooded. On
  // loopback the slow one's kernel tells of room every other second.
  Flooded slow{.sender = LogIn(scratch_), .receiver = LogIn(scratch_)};
  Flooded never{.sender = LogIn(scratch_), .receiver = LogIn(scratch_)};
  ASSERT_FALSE(HasFailure());
  constexpr std::uint64_t kPerSecond = 64 * 1024;
  constexpr std::size_t kPiece = 4096;
  constexpr std::uint64_t kSlowly = 6 * kPerSecond;  // for so long there is a slow one
  const core::Instant began = core::MonotonicNow();
  std::uint64_t slowly = 0;
  const auto flood = [&] {
    slow.Send(scratch_, 32);
    never.Send(scratch_, 32);
    const double allowed =
        (core::MonotonicNow() - began).seconds() * static_cast<double>(kPerSecond);
    if (static_cast<double>(slowly + kPiece) > allowed) return;
    slow.Read(scratch_, kPiece);
    slowly += kPiece;
  };
  for (int round = 0; !HasFailure() && (round < 3 || slowly < kSlowly); ++round) {
    ExchangeRound(2, flood);
  }
  EXPECT_FALSE(slow.closed) << "who reads slowly is not cut off";
  // When it reads again what is sent to it now arrives, whatever was thrown away before.
  const std::uint64_t flooded = slow.next;
  while (!slow.closed && !HasFailure() && slow.check.received() + slow.check.missing() <= flooded) {
    ASSERT_LT((core::MonotonicNow() - began).ns, kHangs.ns);
    slow.Send(scratch_, 1);
    pollfd readable{.fd = slow.receiver->fd(), .events = POLLIN, .revents = 0};
    poll(&readable, 1, 10);
    slow.Read(scratch_, SocketScratch::kReceive);
  }
  EXPECT_FALSE(slow.closed);
  EXPECT_EQ(slow.check.corrupt(), 0u);
  EXPECT_EQ(slow.check.misplaced(), 0u);
  EXPECT_GT(slow.check.received(), 0u);

  ExchangeRound(2, [] {});
  EXPECT_EQ(received_, sequence_ * kClients);
  for (const StreamCheck& check : checks_) {
    ASSERT_EQ(check.missing(), 0u);
    ASSERT_EQ(check.received(), sequence_);
  }
  EXPECT_TRUE(relay_->Running());
}

}  // namespace
}  // namespace ringscale::tests
