// What Linux's TLS does with a socket, as far as our use of it relies on it:
// against the real one.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/io/epoll_ring.h"
#include "core/tls/kernel_tls.h"
#include "core/tls/records.h"
#include "tests/core/tls/tls_test_support.h"
#include "tests/support/real_sockets.h"

namespace ringscale::core::tls {
namespace {

class KernelTlsSocket : public testing::TestWithParam<Suite> {
 protected:
  void SetUp() override {
    auto [client, server] = tests::TcpPair();
    client_ = std::move(client);
    server_ = std::move(server);
    ASSERT_EQ(InstallKernelTls(server_.get(), *ends_.server, {}), KernelTlsRefusal::kNone);
  }
  std::vector<std::uint8_t> Seal(Bytes text) {
    const Bytes pieces[] = {text};
    std::vector<std::uint8_t> record(SealedSize(*ends_.client, text.size()));
    EXPECT_EQ(SealRecords(*ends_.client, pool_, pieces, record), record.size());
    return record;
  }
  void ClientSends(Bytes record) {
    ASSERT_EQ(send(client_.get(), record.data(), record.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(record.size()));
  }
  ssize_t Send(std::string_view text, int flags = MSG_NOSIGNAL) {
    return send(server_.get(), text.data(), text.size(), flags);
  }
  // The next record that the client gets.
  std::string ClientReads(std::size_t text_size) {
    std::vector<std::uint8_t> record(SealedSize(*ends_.client, text_size));
    EXPECT_EQ(recv(client_.get(), record.data(), record.size(), MSG_WAITALL),
              static_cast<ssize_t>(record.size()));
    return test::Text(RecordReader::Next(*ends_.client, pool_, record).data);
  }

  test::Ends ends_ = test::MakeEnds(GetParam());
  AeadPool pool_{AeadPool::Engine::kOpenSsl};
  Fd client_;
  Fd server_;
};

std::vector<Suite> Suites() {
  if (!tests::KernelHasTls()) return {};
  return {Suite::kAes128GcmSha256, Suite::kAes256GcmSha384};
}
INSTANTIATE_TEST_SUITE_P(Kernel, KernelTlsSocket, testing::ValuesIn(Suites()),
                         [](const auto& test) {
                           return test.param == Suite::kAes128GcmSha256 ? "Aes128" : "Aes256";
                         });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelTlsSocket);

TEST_P(KernelTlsSocket, MakesAndOpensRecords) {
  const std::vector<std::uint8_t> text = test::Raw("to the server");
  ClientSends(Seal(text));
  std::vector<std::uint8_t> got(100);
  ASSERT_EQ(recv(server_.get(), got.data(), got.size(), 0), static_cast<ssize_t>(text.size()));
  got.resize(text.size());
  EXPECT_EQ(got, text);
  ASSERT_EQ(Send("to the client"), 13);
  EXPECT_EQ(ClientReads(13), "to the client");
}

TEST_P(KernelTlsSocket, ARecordThatIsNoDataFailsAPlainReceive) {
  std::array<std::uint8_t, kSealedAlertSize> record;
  ClientSends(Bytes(record).first(SealAlert(*ends_.client, pool_, Alert::kCloseNotify, record)));
  std::vector<std::uint8_t> memory(kMaxPlaintext);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(recv(server_.get(), memory.data(), memory.size(), 0), -1);
    EXPECT_EQ(errno, EIO);
  }
  const ControlRecord alert = ReceiveControlRecord(server_.get(), memory);
  EXPECT_EQ(alert.error, 0);
  EXPECT_EQ(alert.type, kTypeAlert);
  EXPECT_EQ(test::Text(Bytes(memory).first(alert.size)), std::string("\x01\x00", 2));
}

TEST_P(KernelTlsSocket, RefusesToFinishAShortSend) {
  EXPECT_EQ(Send("text", MSG_NOSIGNAL | MSG_WAITALL), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  ASSERT_EQ(Send("text"), 4);
  EXPECT_EQ(ClientReads(4), "text");
}

TEST_P(KernelTlsSocket, CountsItsRecords) {
  for (std::uint64_t sent = 0; sent < 3; ++sent) {
    EXPECT_EQ(RecordsSent(server_.get(), GetParam(), {}), sent);
    ASSERT_EQ(Send("text"), 4);
  }
}

TEST_P(KernelTlsSocket, TakesASecondKeyWhereTheProbeSaysSo) {
  const KernelTlsSupport support = ProbeKernelTls({});
  EXPECT_TRUE(support.available) << support.why;
  EXPECT_EQ(ChangeSendKey(server_.get(), *ends_.server, {}), support.rekeys ? 0 : EBUSY);
  if (support.rekeys) return;
  EXPECT_EQ(ChangeReceiveKey(server_.get(), *ends_.server, {}), EBUSY);
}

// A socket that holds half a record may be called readable though there is nothing
// to read, as Linux 6.1 does: epoll must sleep all the same.
TEST_P(KernelTlsSocket, EpollSleepsUntilARecordIsComplete) {
  auto created = io::EpollRing::Create({.buffer_count = 4});
  ASSERT_TRUE(created.has_value()) << created.error().message;
  io::EpollRing& ring = **created;
  std::array<io::Completion, 16> completions;
  for (const bool once : {false, true}) {
    const io::Token token(1, 2, 3);
    once ? ring.ReceiveOnce(server_.get(), token) : ring.ReceiveMultishot(server_.get(), token);
    const std::vector<std::uint8_t> record = Seal(test::Raw("text"));
    ClientSends(Bytes(record).first(9));
    const Instant begin = MonotonicNow();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(ring.Turn(completions, Millis(20)), 0u);
    EXPECT_GE((MonotonicNow() - begin).millis(), 6 * 20) << "it turned without waiting";
    ClientSends(Bytes(record).subspan(9));
    while (ring.Turn(completions, Seconds(1)) == 0) {
    }
    EXPECT_TRUE(completions[0].has_buffer);
    EXPECT_EQ(completions[0].result, 4);
    ring.ReturnBuffer(completions[0].buffer_id);
    ring.CancelFd(server_.get());
    while (!once && ring.Turn(completions, Seconds(1)) == 0) {
    }
  }
}

}  // namespace
}  // namespace ringscale::core::tls
