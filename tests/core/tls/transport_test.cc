#include "core/tls/transport.h"

#include <gtest/gtest.h>

#include "core/tls/aead.h"
#include "core/tls/records.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

class TransportTest : public testing::Test {
 protected:
  std::string Wire(std::string_view text, std::size_t max_record = kMaxPlaintext) {
    const Bytes pieces[] = {AsBytes(text)};
    std::string out(SealedSize(*ends_.client, text.size(), max_record), '\0');
    EXPECT_EQ(SealRecords(*ends_.client, pool_, pieces,
                          MutableBytes(reinterpret_cast<std::uint8_t*>(out.data()), out.size()),
                          max_record),
              out.size());
    return out;
  }
  // A record for each text, in order.
  std::string Wires(std::initializer_list<std::string_view> texts) {
    std::string out;
    for (std::string_view text : texts) out += Wire(text);
    return out;
  }
  Transport Server(std::vector<std::uint8_t> partial = {}) {
    return Transport::Records(std::move(ends_.server), std::move(partial));
  }
  // Feeds `wire` in slices of `slice` bytes.
  std::string Receive(Transport& transport, std::string_view wire, std::size_t slice = 1 << 20) {
    std::string data;
    do {
      std::vector<std::uint8_t> memory = test::Raw(wire.substr(0, slice));
      wire.remove_prefix(memory.size());
      const Result<> result =
          transport.Receive(pool_, memory, [&](MutableBytes run) { data += test::Text(run); });
      EXPECT_TRUE(result) << result.error().message;
    } while (!wire.empty());
    return data;
  }

  AeadPool pool_;
  test::Ends ends_ = test::MakeEnds(Suite::kAes128GcmSha256);
};

TEST_F(TransportTest, PlainPassesThrough) {
  Transport transport = Transport::Plain();
  EXPECT_EQ(transport.kind(), Transport::Kind::kPlain);
  EXPECT_EQ(Receive(transport, "hello"), "hello");
  std::string out = "<";
  const std::string_view pieces[] = {"a", "b"};
  ASSERT_TRUE(transport.Seal(pool_, pieces, out));
  EXPECT_EQ(out, "<ab");
  EXPECT_EQ(transport.SealClose(pool_), "");
  EXPECT_EQ(transport.TakeControlOutput(), "");
  std::vector<std::uint8_t> partial;
  EXPECT_EQ(transport.ReleaseKeys(partial), nullptr);
}

TEST_F(TransportTest, AnySlicingGivesTheSame) {
  const std::string text = std::string(5000, 'a') + std::string(5000, 'b');
  for (const std::size_t slice : {1, 2, 5, 22, 23, 100, 1022, 1023, 1024, 5000}) {
    ends_ = test::MakeEnds(Suite::kAes128GcmSha256);
    const std::string wire = Wire(text, 1000);
    Transport transport = Server();
    EXPECT_EQ(Receive(transport, wire, slice), text) << slice;
  }
}

TEST_F(TransportTest, SeveralRecordsLeftOverFromTheHandshake) {
  const std::string wire = Wires({"one", "two", "three"});
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    ends_.server = test::MakeEnds(Suite::kAes128GcmSha256).server;
    Transport transport = Server(test::Raw(wire.substr(0, cut)));
    std::string data = Receive(transport, "");
    data += Receive(transport, wire.substr(cut));
    EXPECT_EQ(data, "onetwothree") << cut;
  }
}

TEST_F(TransportTest, ReleasedKeysGoOnWhereTheTransportStopped) {
  const std::string wire = Wires({"before", "after"});
  Transport transport = Server();
  const std::size_t cut = 6 + kRecordOverhead + 9;  // inside the second record
  EXPECT_EQ(Receive(transport, wire.substr(0, cut)), "before");
  std::vector<std::uint8_t> memory;
  const std::unique_ptr<RecordKeys> keys = transport.ReleaseKeys(memory);
  ASSERT_NE(keys, nullptr);
  EXPECT_EQ(memory.size(), 9U);
  for (const char byte : wire.substr(cut)) memory.push_back(static_cast<std::uint8_t>(byte));
  const RecordEvent event = RecordReader::Next(*keys, pool_, memory);
  ASSERT_EQ(event.kind, RecordEvent::Kind::kData);
  EXPECT_EQ(test::Text(event.data), "after");

  // The emptied transport is closed; it must not pass for a plain one.
  EXPECT_EQ(transport.kind(), Transport::Kind::kRecords);
  std::string out;
  const std::string_view pieces[] = {"secret"};
  EXPECT_FALSE(transport.Seal(pool_, pieces, out));
  EXPECT_EQ(out, "");
  EXPECT_EQ(transport.SealClose(pool_), "");
  EXPECT_FALSE(transport.Receive(pool_, {}, [](MutableBytes) {}));
}

TEST_F(TransportTest, DataBeforeABadRecordIsDelivered) {
  std::string wire = Wires({"good", "bad"});
  wire.back() = static_cast<char>(wire.back() ^ 1);
  Transport transport = Server();
  std::vector<std::uint8_t> memory = test::Raw(wire);
  std::string data;
  const Result<> result =
      transport.Receive(pool_, memory, [&](MutableBytes run) { data += test::Text(run); });
  EXPECT_EQ(data, "good");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  const std::string alert = transport.TakeControlOutput();
  EXPECT_EQ(alert.size(), kSealedAlertSize);
  std::vector<std::uint8_t> told = test::Raw(alert);
  const RecordEvent event = RecordReader::Next(*ends_.client, pool_, told);
  EXPECT_TRUE(event.peer_alert);
  EXPECT_EQ(event.alert, Alert::kBadRecordMac);
}

TEST_F(TransportTest, SealingNothingSendsOnlyWhatIsDue) {
  Transport transport = Server();
  std::string out;
  EXPECT_TRUE(transport.Seal(pool_, {}, out));
  const std::string_view pieces[] = {"", ""};
  EXPECT_TRUE(transport.Seal(pool_, pieces, out));
  EXPECT_EQ(out, "");
}

}  // namespace
}  // namespace ringscale::core::tls
