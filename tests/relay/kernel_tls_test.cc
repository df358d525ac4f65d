// What the shard does for a client whose TLS the kernel has, against system calls
// that only remember what they were given. The test is the ring.
#include <gtest/gtest.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "core/tls/key_schedule.h"
#include "core/tls/records.h"
#include "relay/app/kernel_transport.h"
#include "relay/app/shard_core.h"
#include "tests/sim/sim_client.h"

namespace ringscale::relay {
namespace {

using core::tls::DirectionKeys;

constexpr std::array<std::uint8_t, 5> kKeyUpdate = {24, 0, 0, 1, 0};
constexpr std::array<std::uint8_t, 5> kKeyUpdateAsking = {24, 0, 0, 1, 1};

core::NodePublic Key(std::uint8_t fill) {
  core::NodePublic key;
  key.raw.fill(fill);
  return key;
}

class KernelTlsShard : public testing::Test {
 protected:
  KernelTlsShard() {
    tx_.clear();
    rx_.clear();
    refuse_ = 0;
    records_sent_ = 0;
  }
  ~KernelTlsShard() override {
    std::vector<int> open;
    core_.Shutdown(open);
  }

  static int Set(int, int level, int option, const void* value, socklen_t size) {
    if (level != SOL_TLS) return 0;
    if (refuse_ != 0) {
      errno = refuse_;
      return -1;
    }
    const auto* bytes = static_cast<const std::uint8_t*>(value);
    (option == TLS_TX ? tx_ : rx_).emplace_back(bytes, bytes + size);
    return 0;
  }
  static int Get(int, int, int, void* value, socklen_t* size) {
    core::StoreBe64(static_cast<std::uint8_t*>(value) + *size - 8, records_sent_);
    return 0;
  }

  Connection& Open(bool rekeys, std::uint32_t rekey_after = core::tls::kRekeyAfterRecords) {
    sim::TlsPair pair = sim::MakeTlsPair(rng_, sim::kGcmSuites);
    suite_ = pair.server->suite;
    receive_ = pair.server->receive;
    send_ = pair.server->send;
    LoggedInClient client;
    client.key = Key(1);
    client.tls = std::move(pair.server);
    client.tls->rekey_after = rekey_after;
    KernelMove kernel =
        MoveToKernel(client, {.use = true, .rekeys = rekeys, .calls = {.set = &Set, .get = &Get}});
    EXPECT_EQ(client.tls, nullptr);
    Connection& c = core_.at(core_.Open(client, 1, std::move(kernel)));
    EXPECT_NE(c.kernel, nullptr);
    EXPECT_EQ(rx_.size(), 1u);
    EXPECT_EQ(tx_.size(), 1u);
    return c;
  }
  // The kernel opened a record of this type.
  void Record(Connection& c, std::uint8_t type, core::Bytes content) {
    std::vector<std::uint8_t> copy(content.begin(), content.end());
    core_.OnKernelRecord(c, type, copy);
  }
  void Data(Connection& c, core::Bytes bytes) {
    Block* cell = core_.pool().AllocateCell(bytes.size(), BlockPool::Need::kEssential);
    ASSERT_NE(cell, nullptr);
    std::memcpy(cell->data, bytes.data(), bytes.size());
    core_.OnReceived(c, cell, bytes.size());
  }
  void Ping(Connection& c) {
    Data(c, sim::MakeFrame(FrameType::kPing, std::vector<std::uint8_t>(8, 7)));
  }
  // What the shard wants to send now; in flight afterwards.
  const SendBatch* NextSend(Connection& c) {
    const SendBatch* found = nullptr;
    for (const std::uint32_t slot : core_.TakeDirty()) {
      const SendBatch* batch = core_.StartSend(core_.at(slot));
      if (slot == c.slot) found = batch;
    }
    return found;
  }
  static std::vector<std::uint8_t> Content(const SendBatch& batch) {
    std::vector<std::uint8_t> bytes;
    for (std::uint32_t i = 0; i < batch.count(); ++i) {
      const auto* from = static_cast<const std::uint8_t*>(batch.pieces()[i].iov_base);
      bytes.insert(bytes.end(), from, from + batch.pieces()[i].iov_len);
    }
    return bytes;
  }
  // The type of the records that the message makes; 23 when it does not say.
  static int TypeOf(Connection& c, const SendBatch& batch) {
    msghdr* message = c.kernel->Message(batch);
    const cmsghdr* header = message->msg_control == nullptr ? nullptr : CMSG_FIRSTHDR(message);
    return header == nullptr ? 23 : *CMSG_DATA(header);
  }
  void ExpectCloseNotify(Connection& c) {
    const SendBatch* batch = NextSend(c);
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(Content(*batch), (std::vector<std::uint8_t>{1, 0}));
    EXPECT_EQ(TypeOf(c, *batch), 21);
    core_.OnSent(c, 2);
    EXPECT_EQ(c.state, ConnectionState::kClosing);
  }
  std::uint64_t Closed(CloseReason reason) {
    return metrics_.closed[static_cast<std::size_t>(reason)].Value();
  }
  // The kernel has the next key of what `before` was, from its first record on.
  void ExpectNextKey(const std::vector<std::uint8_t>& info, DirectionKeys& before) {
    ASSERT_TRUE(core::tls::AdvanceTrafficSecret(suite_, before));
    const std::size_t size = core::tls::KeySize(suite_);
    ASSERT_EQ(info.size(), 4 + 8 + size + 4 + 8);
    EXPECT_EQ(std::memcmp(info.data() + 4, before.iv + 4, 8), 0);
    EXPECT_EQ(std::memcmp(info.data() + 12, before.key, size), 0);
    EXPECT_EQ(std::memcmp(info.data() + 12 + size, before.iv, 4), 0);
    EXPECT_EQ(core::LoadBe64(info.data() + 16 + size), 0u);
  }

  static inline std::vector<std::vector<std::uint8_t>> tx_;
  static inline std::vector<std::vector<std::uint8_t>> rx_;
  static inline int refuse_ = 0;
  static inline std::uint64_t records_sent_ = 0;

  sim::Rng rng_{7};
  core::tls::Suite suite_{};
  DirectionKeys receive_;
  DirectionKeys send_;
  ShardMetrics metrics_;
  ShardCore core_{{}, nullptr, metrics_, core::Instant{1}};
};

TEST_F(KernelTlsShard, DataGoesInAndOutAsItIs) {
  Connection& c = Open(false);
  Ping(c);
  const SendBatch* batch = NextSend(c);
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(Content(*batch), sim::MakeFrame(FrameType::kPong, std::vector<std::uint8_t>(8, 7)));
  EXPECT_EQ(TypeOf(c, *batch), 23);
  EXPECT_EQ(metrics_.tls_in_kernel.Value(), 1u);
}

TEST_F(KernelTlsShard, AKeyUpdateChangesBothKeysInPlace) {
  Connection& c = Open(true);
  Record(c, 22, kKeyUpdateAsking);
  ASSERT_EQ(rx_.size(), 2u);
  ExpectNextKey(rx_[1], receive_);
  // The answer is the last record under the old key.
  const SendBatch* batch = NextSend(c);
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(Content(*batch), std::vector<std::uint8_t>(kKeyUpdate.begin(), kKeyUpdate.end()));
  EXPECT_EQ(TypeOf(c, *batch), 22);
  EXPECT_EQ(tx_.size(), 1u);
  Ping(c);
  EXPECT_EQ(NextSend(c), nullptr) << "data may not overtake the change of the key";
  core_.OnSent(c, 5);
  ASSERT_EQ(tx_.size(), 2u);
  ExpectNextKey(tx_[1], send_);
  batch = NextSend(c);
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(TypeOf(c, *batch), 23);
  EXPECT_EQ(metrics_.kernel_tls_key_changes.Value(), 2u);
}

TEST_F(KernelTlsShard, AKeyUpdateThatAsksForNothingChangesOneKey) {
  Connection& c = Open(true);
  Record(c, 22, core::Bytes(kKeyUpdate).first(3));  // split over two records
  EXPECT_EQ(rx_.size(), 1u);
  Record(c, 22, core::Bytes(kKeyUpdate).subspan(3));
  ASSERT_EQ(rx_.size(), 2u);
  ExpectNextKey(rx_[1], receive_);
  EXPECT_EQ(NextSend(c), nullptr);
}

TEST_F(KernelTlsShard, WithoutChangingKeysAKeyUpdateEndsTheConnectionInOrder) {
  Connection& c = Open(false);
  Record(c, 22, kKeyUpdate);
  EXPECT_EQ(rx_.size(), 1u);
  ExpectCloseNotify(c);
  EXPECT_EQ(Closed(CloseReason::kKeyUpdate), 1u);
}

TEST_F(KernelTlsShard, TheGoodbyeWaitsForTheSendInFlight) {
  Connection& c = Open(false);
  Ping(c);
  const SendBatch* batch = NextSend(c);
  ASSERT_NE(batch, nullptr);
  Record(c, 22, kKeyUpdate);
  EXPECT_EQ(c.state, ConnectionState::kOpen);
  core_.OnSent(c, batch->bytes());
  ExpectCloseNotify(c);
  EXPECT_EQ(Closed(CloseReason::kKeyUpdate), 1u);
}

TEST_F(KernelTlsShard, AKernelThatRefusesTheNewKeyEndsTheConnectionInOrder) {
  Connection& c = Open(true);
  refuse_ = EBUSY;
  Record(c, 22, kKeyUpdate);
  ExpectCloseNotify(c);
  EXPECT_EQ(Closed(CloseReason::kKeyUpdate), 1u);
}

TEST_F(KernelTlsShard, AKeyIsUsedForSoManyRecordsAndNoMore) {
  for (const bool rekeys : {true, false}) {
    SCOPED_TRACE(rekeys);
    tx_.clear();
    rx_.clear();
    Connection& c = Open(rekeys, 10);
    // By our count there may be too many; the kernel knows better.
    records_sent_ = 9;
    for (int i = 0; i < 20; ++i) {
      Ping(c);
      const SendBatch* batch = NextSend(c);
      ASSERT_NE(batch, nullptr);
      EXPECT_EQ(TypeOf(c, *batch), 23);
      core_.OnSent(c, batch->bytes());
    }
    records_sent_ = 10;
    Ping(c);
    const SendBatch* batch = NextSend(c);
    ASSERT_NE(batch, nullptr);
    ASSERT_EQ(TypeOf(c, *batch), 23);
    core_.OnSent(c, batch->bytes());
    if (!rekeys) {
      ExpectCloseNotify(c);
      EXPECT_EQ(Closed(CloseReason::kKeyUpdate), 1u);
      continue;
    }
    batch = NextSend(c);
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(TypeOf(c, *batch), 22);
    core_.OnSent(c, 5);
    ASSERT_EQ(tx_.size(), 2u);
    ExpectNextKey(tx_[1], send_);
  }
}

TEST_F(KernelTlsShard, AlertsAndNonsenseEndIt) {
  struct Case {
    std::uint8_t type;
    std::vector<std::uint8_t> content;
    std::vector<std::uint8_t> answer;  // empty: closed at once
    CloseReason reason;
  };
  const std::vector<Case> cases = {
      {21, {1, 0}, {1, 0}, CloseReason::kClientClosed},
      {21, {2, 20}, {}, CloseReason::kTlsError},
      {21, {2}, {2, 50}, CloseReason::kTlsError},
      {22, {1, 0, 0, 0}, {2, 10}, CloseReason::kTlsError},
      {22, {24, 0, 0, 1, 2}, {2, 47}, CloseReason::kTlsError},
      {24, {1}, {2, 10}, CloseReason::kTlsError},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(testing::Message() << int{test.type} << " " << int{test.content[0]});
    tx_.clear();
    rx_.clear();
    Connection& c = Open(true);
    const std::uint64_t before = Closed(test.reason);
    Record(c, test.type, test.content);
    EXPECT_EQ(Closed(test.reason), before + 1);
    if (test.answer.empty()) {
      EXPECT_EQ(c.state, ConnectionState::kClosing);
      continue;
    }
    const SendBatch* batch = NextSend(c);
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(Content(*batch), test.answer);
    EXPECT_EQ(TypeOf(c, *batch), 21);
    core_.OnSent(c, 2);
  }
}

TEST_F(KernelTlsShard, KeyUpdatesWithoutDataAreLimited) {
  Connection& c = Open(true);
  for (int i = 0; i < 100 && c.state == ConnectionState::kOpen; ++i) Record(c, 22, kKeyUpdate);
  EXPECT_EQ(Closed(CloseReason::kTlsError), 1u);
  EXPECT_LT(rx_.size(), 20u);
  rx_.clear();
  tx_.clear();
  Connection& fair = Open(true);
  for (int i = 0; i < 100; ++i) {
    Record(fair, 22, kKeyUpdate);
    for (int k = 0; k < core::tls::kKeyUpdateCost; ++k) Ping(fair);
  }
  EXPECT_EQ(fair.state, ConnectionState::kOpen);
  EXPECT_EQ(rx_.size(), 101u);
}

TEST_F(KernelTlsShard, ShortSendsGoOnWhereTheyStopped) {
  Connection& c = Open(false);
  const auto data = sim::SendPacketFrame(Key(1), std::vector<std::uint8_t>(3000, 5));
  Data(c, data);
  Data(c, data);
  const SendBatch* batch = NextSend(c);
  ASSERT_NE(batch, nullptr);
  const std::vector<std::uint8_t> all = Content(*batch);
  ASSERT_GE(all.size(), 6000u);
  EXPECT_FALSE(core_.ContinueSend(c, -EPIPE));
  std::vector<std::uint8_t> sent;
  for (const std::uint32_t part : {1u, 2998u, 3000u}) {
    sent.insert(sent.end(), all.begin() + static_cast<std::ptrdiff_t>(sent.size()),
                all.begin() + static_cast<std::ptrdiff_t>(sent.size() + part));
    ASSERT_TRUE(core_.ContinueSend(c, part));
    const std::vector<std::uint8_t> rest = Content(*batch);
    ASSERT_EQ(sent.size() + rest.size(), all.size());
    EXPECT_TRUE(
        std::equal(rest.begin(), rest.end(), all.end() - static_cast<std::ptrdiff_t>(rest.size())));
  }
  EXPECT_FALSE(core_.ContinueSend(c, batch->bytes())) << "nothing is left";
  core_.OnSent(c, batch->bytes());
  EXPECT_EQ(c.state, ConnectionState::kOpen);
  EXPECT_EQ(metrics_.bytes_sent.Value(), all.size());
}

}  // namespace
}  // namespace ringscale::relay
