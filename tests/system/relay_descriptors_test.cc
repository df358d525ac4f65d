// A relay whose file descriptors are used up by strangers: those who are there go on,
// and those who come afterwards get in.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "bench/lib/derp_socket.h"
#include "bench/lib/packet_stream.h"
#include "bench/lib/process_stats.h"
#include "tests/support/temp_folder.h"
#include "tests/system/child_process.h"
#include "tests/system/relay_process.h"

namespace ringscale::tests {
namespace {

using bench::DerpSocket;

constexpr std::size_t kDescriptors = 120;
constexpr std::size_t kPacket = 500;
constexpr int kHangsMs = 30'000;

class RelayDescriptorsTest : public testing::Test {
 protected:
  void SetUp() override {
    relay_ = std::make_unique<RelayProcess>(folder_, kDescriptors);
    tls_ = *bench::MakeBenchTlsContext("TLS_AES_128_GCM_SHA256");
  }
  void TearDown() override { relay_.reset(); }
  std::unique_ptr<DerpSocket> LogIn() {
    auto socket = DerpSocket::Connect(relay_->target(), tls_, scratch_);
    if (socket) return std::move(*socket);
    ADD_FAILURE() << socket.error().message << "\n" << relay_->LogTail();
    return nullptr;
  }
  std::size_t Open() const { return bench::CountDescriptors(relay_->pid()).value_or(0); }
  // One packet, there and whole.
  void ExpectPasses(DerpSocket& from, DerpSocket& to) {
    bench::StreamCheck check(1);
    AppendPacket(from, scratch_, to.key(), kPacket,
                 [](core::MutableBytes packet) { bench::WritePacket(packet, 1, 0, {}); });
    ASSERT_EQ(from.Flush(scratch_), DerpSocket::Io::kOk);
    while (check.received() == 0) {
      pollfd readable{.fd = to.fd(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(poll(&readable, 1, kHangsMs), 1);
      ASSERT_NE(
          to.Receive(scratch_,
                     [&](const relay::FrameView& frame) {
                       if (frame.type != relay::FrameType::kRecvPacket) return;
                       EXPECT_TRUE(check.Check(frame.payload().subspan(relay::kKeyBytes)).good);
                     }),
          DerpSocket::Io::kClosed);
    }
  }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::unique_ptr<RelayProcess> relay_;
  std::shared_ptr<const core::tls::ClientContext> tls_;
  bench::SocketScratch scratch_{bench::PacketWireBytes(kPacket, true)};
};

TEST_F(RelayDescriptorsTest, ThoseWhoAreThereGoOnWhenTheyAreUsedUp) {
  auto a = LogIn();
  auto b = LogIn();
  ASSERT_TRUE(a != nullptr && b != nullptr);
  ExpectPasses(*a, *b);

  sockaddr_storage native{};
  const bench::RelayTarget target = relay_->target();
  const socklen_t length = target.address.ToNative(native, false);
  std::vector<core::Fd> strangers;
  for (std::size_t i = 0; i < 2 * kDescriptors; ++i) {
    strangers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(strangers.back().get(), reinterpret_cast<sockaddr*>(&native), length), 0);
  }
  for (int waited = 0; Open() < kDescriptors; ++waited) {
    ASSERT_LT(waited, kHangsMs / 10) << "only " << Open() << " descriptors are in use";
    poll(nullptr, 0, 10);
  }
  for (int i = 0; i < 20; ++i) {
    ExpectPasses(*a, *b);
    ExpectPasses(*b, *a);
  }
  ASSERT_TRUE(relay_->Running());

  strangers.clear();
  auto c = LogIn();
  ASSERT_NE(c, nullptr);
  ExpectPasses(*c, *a);
  ExpectPasses(*b, *c);
}

}  // namespace
}  // namespace ringscale::tests
