#include "core/tls/records.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "core/tls/key_schedule.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

using Kind = RecordEvent::Kind;
using test::Ends;
using test::Raw;
using test::Text;

class RecordsTest : public testing::TestWithParam<Suite> {
 protected:
  // A record of the client with any inner plaintext: content, type, padding.
  std::vector<std::uint8_t> Craft(std::string inner) {
    std::vector<std::uint8_t> record(kRecordHeaderSize + inner.size() + kAeadTagSize);
    record[0] = 23;
    StoreBe16(record.data() + 1, 0x0303);
    StoreBe16(record.data() + 3, static_cast<std::uint16_t>(inner.size() + kAeadTagSize));
    std::copy(inner.begin(), inner.end(), record.begin() + kRecordHeaderSize);
    const MutableBytes memory(record);
    EXPECT_TRUE(pool_.SealInPlace(ends_.client->suite, ends_.client->send,
                                  memory.first(kRecordHeaderSize),
                                  memory.subspan(kRecordHeaderSize, inner.size()),
                                  record.data() + kRecordHeaderSize + inner.size()));
    ++ends_.client->send.sequence;
    return record;
  }
  std::vector<std::uint8_t> Craft(std::string_view content, char type, std::size_t padding = 0) {
    return Craft(std::string(content) + type + std::string(padding, '\0'));
  }
  RecordEvent Receive(std::vector<std::uint8_t> record) {
    memory_ = std::move(record);
    return RecordReader::Next(*ends_.server, pool_, memory_);
  }
  std::vector<std::uint8_t> Seal(RecordKeys& keys, std::string_view text,
                                 std::size_t max_record = kMaxPlaintext) {
    const Bytes pieces[] = {AsBytes(text)};
    std::vector<std::uint8_t> out(SealedSize(keys, text.size(), max_record));
    EXPECT_EQ(SealRecords(keys, pool_, pieces, out, max_record), out.size());
    return out;
  }
  // Opens everything; data is appended to `data`. The last event.
  RecordEvent Drain(RecordKeys& keys, std::vector<std::uint8_t>& wire, std::string& data,
                    std::vector<std::size_t>* sizes = nullptr) {
    MutableBytes rest = wire;
    for (;;) {
      const RecordEvent event = RecordReader::Next(keys, pool_, rest);
      if (event.kind != Kind::kData && event.kind != Kind::kHandled) return event;
      if (event.kind == Kind::kData) data += Text(event.data);
      if (sizes != nullptr && event.kind == Kind::kData) sizes->push_back(event.data.size());
      rest = rest.subspan(event.consumed);
    }
  }

  AeadPool pool_;
  Ends ends_ = test::MakeEnds(GetParam());
  std::vector<std::uint8_t> memory_;
};

INSTANTIATE_TEST_SUITE_P(Suites, RecordsTest, testing::ValuesIn(test::kAllSuites),
                         [](const auto& test) { return std::string(test::SuiteName(test.param)); });

TEST_P(RecordsTest, RoundTripsInPlaceOverManyRecords) {
  for (int i = 0; i < 300; ++i) {
    const std::string text(static_cast<std::size_t>(i) + 1, static_cast<char>(i));
    const RecordEvent event = Receive(Seal(*ends_.client, text));
    ASSERT_EQ(event.kind, Kind::kData);
    EXPECT_EQ(Text(event.data), text);
    EXPECT_EQ(event.data.data(), memory_.data() + kRecordHeaderSize) << "in place";
    EXPECT_EQ(event.consumed, text.size() + kRecordOverhead);
  }
}

TEST_P(RecordsTest, GathersPiecesAndSplitsLongOnes) {
  std::string expected;
  std::vector<std::string> texts;
  for (std::size_t size : {0, 1, 40'000, 0, 7, 16'384, 100, 0}) {
    texts.emplace_back(size, static_cast<char>('a' + texts.size()));
  }
  std::vector<Bytes> pieces;
  for (const std::string& text : texts) {
    pieces.push_back(AsBytes(text));
    expected += text;
  }
  for (const std::size_t max_record : {kMaxPlaintext, std::size_t{4096}, std::size_t{999}}) {
    std::vector<std::uint8_t> out(SealedSize(*ends_.client, expected.size(), max_record));
    ASSERT_EQ(SealRecords(*ends_.client, pool_, pieces, out, max_record), out.size());
    std::string data;
    std::vector<std::size_t> sizes;
    EXPECT_EQ(Drain(*ends_.server, out, data, &sizes).kind, Kind::kNeedMore);
    EXPECT_EQ(data, expected);
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) EXPECT_EQ(sizes[i], max_record);
  }
}

TEST_P(RecordsTest, SealedInPlaceEqualsGathered) {
  Ends other = test::MakeEnds(GetParam());
  std::vector<std::uint8_t> record(kRecordOverhead + 1437, 'p');
  ASSERT_TRUE(SealRecordInPlace(*ends_.client, pool_, record, 1437));
  const std::string text(1437, 'p');
  const Bytes pieces[] = {AsBytes(text).first(37), AsBytes(text).subspan(37)};
  std::vector<std::uint8_t> gathered(SealedSize(*other.client, text.size()));
  ASSERT_EQ(SealRecords(*other.client, pool_, pieces, gathered), gathered.size());
  EXPECT_EQ(record, gathered);
}

TEST_P(RecordsTest, NothingToSealWritesNothing) {
  EXPECT_EQ(SealedSize(*ends_.server, 0), 0U);
  EXPECT_EQ(SealRecords(*ends_.server, pool_, {}, {}), 0U);
  std::array<std::uint8_t, 10> small;
  const Bytes pieces[] = {AsBytes("hello")};
  EXPECT_EQ(SealRecords(*ends_.server, pool_, pieces, small), 0U);
  EXPECT_EQ(ends_.server->send.sequence, 0U);
  EXPECT_EQ(SealAlert(*ends_.server, pool_, Alert::kCloseNotify, small), 0U);
}

TEST_P(RecordsTest, MaxFragmentLengthIsHonoured) {
  ends_.client->max_plaintext = 512;
  std::vector<std::uint8_t> wire = Seal(*ends_.client, std::string(1300, 'x'));
  std::string data;
  std::vector<std::size_t> sizes;
  Drain(*ends_.server, wire, data, &sizes);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{512, 512, 276}));
}

TEST_P(RecordsTest, NeedsMoreAtEveryTruncation) {
  const std::vector<std::uint8_t> record = Seal(*ends_.client, "hello world");
  for (std::size_t size = 0; size < record.size(); ++size) {
    std::vector<std::uint8_t> part(record.begin(), record.begin() + static_cast<long>(size));
    const RecordEvent event = RecordReader::Next(*ends_.server, pool_, part);
    ASSERT_EQ(event.kind, Kind::kNeedMore);
    EXPECT_EQ(event.needed, size < kRecordHeaderSize ? kRecordHeaderSize : record.size());
    EXPECT_EQ(event.consumed, 0U);
  }
  EXPECT_EQ(Receive(record).kind, Kind::kData);
}

TEST_P(RecordsTest, EveryFlippedBitIsFatal) {
  const std::vector<std::uint8_t> record = Seal(*ends_.client, "hello");
  for (std::size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::vector<std::uint8_t> bad = record;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
    if (bit / 8 == 3 || bit / 8 == 4) bad.resize(kMaxRecord);  // another length
    EXPECT_EQ(Receive(bad).kind, Kind::kFatal) << bit;
  }
  EXPECT_EQ(ends_.server->receive.sequence, 0U);
}

TEST_P(RecordsTest, ReplayedAndReorderedRecordsAreFatal) {
  const std::vector<std::uint8_t> first = Seal(*ends_.client, "one");
  const std::vector<std::uint8_t> second = Seal(*ends_.client, "two");
  const RecordEvent early = Receive(second);
  EXPECT_EQ(early.kind, Kind::kFatal);
  EXPECT_EQ(early.alert, Alert::kBadRecordMac);
  EXPECT_FALSE(early.peer_alert);
  EXPECT_EQ(Receive(first).kind, Kind::kData);
  EXPECT_EQ(Receive(first).kind, Kind::kFatal);
}

TEST_P(RecordsTest, PlaintextRecordsAreFatal) {
  for (const int type : {20, 21, 22, 24, 0, 0x80, 0x47}) {
    const RecordEvent event = Receive({static_cast<std::uint8_t>(type)});
    EXPECT_EQ(event.kind, Kind::kFatal) << type;
    EXPECT_EQ(event.alert, Alert::kUnexpectedMessage);
  }
  EXPECT_EQ(Receive({20, 3, 3, 0, 1, 1}).kind, Kind::kFatal) << "change_cipher_spec";
  EXPECT_EQ(Receive({23, 3, 1, 0, 30}).alert, Alert::kProtocolVersion);
}

TEST_P(RecordsTest, LengthLimits) {
  EXPECT_EQ(Receive({23, 3, 3, 0x41, 0x01}).alert, Alert::kRecordOverflow);  // 2^14 + 257
  EXPECT_EQ(Receive({23, 3, 3, 0x41, 0x00}).kind, Kind::kNeedMore);
  EXPECT_EQ(Receive({23, 3, 3, 0, 16}).alert, Alert::kDecodeError);
  // A full record, then one byte more of content, then as much as padding.
  RecordEvent event = Receive(Craft(std::string(kMaxPlaintext, 'x'), 23));
  ASSERT_EQ(event.kind, Kind::kData);
  EXPECT_EQ(event.data.size(), kMaxPlaintext);
  EXPECT_EQ(Receive(Craft(std::string(kMaxPlaintext + 1, 'x'), 23)).alert, Alert::kRecordOverflow);
}

TEST_P(RecordsTest, PaddingIsStripped) {
  for (const std::size_t padding : {1, 15, 255, 5000}) {
    const RecordEvent event = Receive(Craft(std::string("data\0\0", 6), 23, padding));
    ASSERT_EQ(event.kind, Kind::kData);
    EXPECT_EQ(Text(event.data), std::string("data\0\0", 6)) << "zeros of the data stay";
  }
}

TEST_P(RecordsTest, AllZeroInnerPlaintextIsFatal) {
  EXPECT_EQ(Receive(Craft(std::string(1, '\0'))).alert, Alert::kUnexpectedMessage);
  ends_ = test::MakeEnds(GetParam());
  EXPECT_EQ(Receive(Craft(std::string(500, '\0'))).kind, Kind::kFatal);
}

TEST_P(RecordsTest, UnknownInnerTypesAreFatal) {
  for (int type = 1; type < 256; ++type) {
    if (type == 21 || type == 22 || type == 23) continue;
    ends_ = test::MakeEnds(GetParam());
    const RecordEvent event = Receive(Craft("x", static_cast<char>(type)));
    EXPECT_EQ(event.kind, Kind::kFatal) << type;
    EXPECT_EQ(event.alert, Alert::kUnexpectedMessage);
  }
}

TEST_P(RecordsTest, EmptyRecordsAreLimited) {
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kMaxEmptyRecords; ++i) {
      ASSERT_EQ(Receive(Craft("", 23, static_cast<std::size_t>(i))).kind, Kind::kHandled);
    }
    ASSERT_EQ(Receive(Craft("x", 23)).kind, Kind::kData) << "data resets the count";
  }
  for (int i = 0; i < kMaxEmptyRecords; ++i) {
    ASSERT_EQ(Receive(Craft("", 23)).kind, Kind::kHandled);
  }
  EXPECT_EQ(Receive(Craft("", 23)).kind, Kind::kFatal);
}

TEST_P(RecordsTest, Alerts) {
  EXPECT_EQ(Receive(Craft(std::string("\1\0", 2), 21)).kind, Kind::kClosed);
  EXPECT_EQ(Receive(Craft(std::string("\1\x5a", 2), 21)).kind, Kind::kHandled) << "user_canceled";
  const RecordEvent event = Receive(Craft("\2\x14", 21));
  EXPECT_EQ(event.kind, Kind::kFatal);
  EXPECT_TRUE(event.peer_alert);
  EXPECT_EQ(event.alert, Alert::kBadRecordMac);
  for (const char* malformed : {"", "\2", "\2\x14\2"}) {
    const RecordEvent bad = Receive(Craft(malformed, 21));
    EXPECT_EQ(bad.kind, Kind::kFatal);
    EXPECT_FALSE(bad.peer_alert);
    EXPECT_EQ(bad.alert, Alert::kDecodeError);
  }
}

TEST_P(RecordsTest, OurAlertsAreUnderstood) {
  std::array<std::uint8_t, kSealedAlertSize> wire;
  ASSERT_EQ(SealAlert(*ends_.client, pool_, Alert::kBadRecordMac, wire), wire.size());
  EXPECT_TRUE(RecordReader::Next(*ends_.server, pool_, wire).peer_alert);
  ASSERT_EQ(SealAlert(*ends_.client, pool_, Alert::kCloseNotify, wire), wire.size());
  EXPECT_EQ(RecordReader::Next(*ends_.server, pool_, wire).kind, Kind::kClosed);
}

const std::string kUpdate("\x18\0\0\1\0", 5);
const std::string kUpdateAndAnswer("\x18\0\0\1\1", 5);

TEST_P(RecordsTest, KeyUpdateChangesTheReceivingKey) {
  EXPECT_EQ(Receive(Craft(kUpdate, 22)).kind, Kind::kHandled);
  EXPECT_FALSE(NeedsKeyUpdate(*ends_.server));
  ASSERT_TRUE(AdvanceTrafficSecret(GetParam(), ends_.client->send));
  EXPECT_EQ(Text(Receive(Craft("new", 23)).data), "new");
}

TEST_P(RecordsTest, RequestedKeyUpdateIsAnsweredOnce) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(Receive(Craft(kUpdateAndAnswer, 22)).kind, Kind::kHandled);
    ASSERT_TRUE(AdvanceTrafficSecret(GetParam(), ends_.client->send));
  }
  EXPECT_TRUE(NeedsKeyUpdate(*ends_.server));
  EXPECT_EQ(SealedSize(*ends_.server, 3), 3 + kRecordOverhead + kSealedKeyUpdateSize);
  std::vector<std::uint8_t> wire = Seal(*ends_.server, "yes");
  EXPECT_FALSE(NeedsKeyUpdate(*ends_.server));
  std::string data;
  EXPECT_EQ(Drain(*ends_.client, wire, data).kind, Kind::kNeedMore);
  EXPECT_EQ(data, "yes");
  EXPECT_FALSE(NeedsKeyUpdate(*ends_.client)) << "the answer asks for none";
  EXPECT_EQ(Text(Receive(Craft("more", 23)).data), "more");
}

TEST_P(RecordsTest, WeMayAskForAKeyUpdate) {
  std::array<std::uint8_t, kSealedKeyUpdateSize> wire;
  ASSERT_EQ(SealKeyUpdate(*ends_.client, pool_, wire, true), wire.size());
  EXPECT_EQ(RecordReader::Next(*ends_.server, pool_, wire).kind, Kind::kHandled);
  EXPECT_TRUE(NeedsKeyUpdate(*ends_.server));
  std::array<std::uint8_t, 4> small;
  EXPECT_EQ(SealKeyUpdate(*ends_.client, pool_, small), 0U);
}

TEST_P(RecordsTest, KeyUpdatesAreLimitedAgainstData) {
  const auto update = [&] {
    const Kind kind = Receive(Craft(kUpdate, 22)).kind;
    EXPECT_TRUE(AdvanceTrafficSecret(GetParam(), ends_.client->send));
    return kind;
  };
  int burst = 0;
  while (update() == Kind::kHandled) ++burst;
  EXPECT_EQ(burst, 15);
  // One for every sixteen records of data goes on for ever.
  ends_ = test::MakeEnds(GetParam());
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < kKeyUpdateCost; ++i) ASSERT_EQ(Receive(Craft("x", 23)).kind, Kind::kData);
    ASSERT_EQ(update(), Kind::kHandled);
  }
}

TEST_P(RecordsTest, MalformedKeyUpdatesAreFatal) {
  const std::pair<std::string, Alert> cases[] = {
      {kUpdate + "x", Alert::kUnexpectedMessage},  // does not end its record
      {kUpdate + kUpdate, Alert::kUnexpectedMessage},
      {std::string("\x18\0\0\1\2", 5), Alert::kIllegalParameter},
      {std::string("\x18\0\0\0", 4), Alert::kDecodeError},
      {std::string("\x18\0\0\2\0\0", 6), Alert::kDecodeError},
      {std::string("\x18\1\0\1", 4), Alert::kDecodeError},
      {std::string("\x04\0\0\1\0", 5), Alert::kUnexpectedMessage},  // ticket to a server
      {std::string("\x0d\0\0\1\0", 5), Alert::kUnexpectedMessage},  // CertificateRequest
      {std::string("\x01", 1), Alert::kUnexpectedMessage},          // ClientHello
      {std::string(), Alert::kUnexpectedMessage},
  };
  for (const auto& [content, alert] : cases) {
    ends_ = test::MakeEnds(GetParam());
    const RecordEvent event = Receive(Craft(content, 22));
    EXPECT_EQ(event.kind, Kind::kFatal) << content.size();
    EXPECT_EQ(event.alert, alert) << content.size();
  }
}

TEST_P(RecordsTest, HandshakeMessageSplitOverRecords) {
  for (const char byte : kUpdateAndAnswer) {
    EXPECT_FALSE(NeedsKeyUpdate(*ends_.server));
    ASSERT_EQ(Receive(Craft(std::string(1, byte), 22)).kind, Kind::kHandled);
  }
  EXPECT_TRUE(NeedsKeyUpdate(*ends_.server));
  EXPECT_EQ(ends_.server->handshake_fragment, nullptr);
  ASSERT_TRUE(AdvanceTrafficSecret(GetParam(), ends_.client->send));
  EXPECT_EQ(Receive(Craft("x", 23)).kind, Kind::kData);

  ASSERT_EQ(Receive(Craft(kUpdate.substr(0, 2), 22)).kind, Kind::kHandled);
  EXPECT_EQ(Receive(Craft("data", 23)).kind, Kind::kFatal) << "nothing between the parts";
}

TEST_P(RecordsTest, FragmentTravelsWithTheKeys) {
  ASSERT_EQ(Receive(Craft(kUpdate.substr(0, 3), 22)).kind, Kind::kHandled);
  auto moved = std::make_unique<RecordKeys>(std::move(*ends_.server));
  ends_.server = std::move(moved);
  ASSERT_EQ(Receive(Craft(kUpdate.substr(3), 22)).kind, Kind::kHandled);
  ASSERT_TRUE(AdvanceTrafficSecret(GetParam(), ends_.client->send));
  EXPECT_EQ(Receive(Craft("x", 23)).kind, Kind::kData);
}

// As a client of somebody else's server: tickets are skipped.
TEST_P(RecordsTest, ClientSkipsTickets) {
  ends_.server->client = true;
  const auto ticket = [](std::size_t size) {
    std::string message(4 + size, 't');
    StoreBe32(reinterpret_cast<std::uint8_t*>(message.data()),
              0x04000000U | static_cast<std::uint32_t>(size));
    return message;
  };
  EXPECT_EQ(Receive(Craft(ticket(200) + ticket(0) + ticket(5000), 22)).kind, Kind::kHandled);
  const std::string split = ticket(1000);
  EXPECT_EQ(Receive(Craft(split.substr(0, 500), 22)).kind, Kind::kHandled);
  EXPECT_EQ(Receive(Craft(split.substr(500) + kUpdate, 22)).kind, Kind::kHandled);
  ASSERT_TRUE(AdvanceTrafficSecret(GetParam(), ends_.client->send));
  EXPECT_EQ(Receive(Craft("x", 23)).kind, Kind::kData);
  EXPECT_EQ(Receive(Craft(ticket(1021).substr(0, 100), 22)).kind, Kind::kFatal)
      << "longer than what is reassembled";
}

TEST_P(RecordsTest, RekeysItselfBeforeTheLimit) {
  ends_.client->rekey_after = 3;
  std::string expected;
  std::string data;
  for (int i = 0; i < 20; ++i) {
    const std::string text(static_cast<std::size_t>(i % 7 + 1), static_cast<char>('a' + i));
    expected += text;
    std::vector<std::uint8_t> wire = Seal(*ends_.client, text, 2);  // up to four records each
    EXPECT_LE(ends_.client->send.sequence, 3U);
    ASSERT_EQ(Drain(*ends_.server, wire, data).kind, Kind::kNeedMore);
  }
  EXPECT_EQ(data, expected);
  EXPECT_EQ(RecordKeys{}.rekey_after, kRekeyAfterRecords);
  EXPECT_LT(kRekeyAfterRecords, 1U << 24);
}

}  // namespace
}  // namespace ringscale::core::tls
