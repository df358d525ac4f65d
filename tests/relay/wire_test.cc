#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/hex.h"
#include "relay/wire/frame.h"
#include "relay/wire/frame_reader.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes Hex(std::string_view text) {
  return core::HexDecode(text).value();
}

Bytes FrameOf(std::uint8_t type, std::size_t payload) {
  Bytes frame(kHeaderBytes + payload, 0x5a);
  frame[0] = type;
  core::StoreBe32(frame.data() + 1, static_cast<std::uint32_t>(payload));
  return frame;
}

core::NodePublic Key(std::uint8_t fill) {
  core::NodePublic key;
  key.raw.fill(fill);
  return key;
}

TEST(FrameWriter, HeaderIsTypeAndBigEndianLength) {
  std::uint8_t header[kHeaderBytes];
  WriteHeader(header, FrameType::kSendPacket, 0);
  EXPECT_EQ(core::HexEncode(header), "0400000000");
  WriteHeader(header, FrameType::kRestarting, 0xffffffffu);
  EXPECT_EQ(core::HexEncode(header), "15ffffffff");
}

TEST(FrameWriter, MatchesPublishedByteSequences) {
  std::uint8_t out[128];
  EXPECT_EQ(core::HexEncode({out, WriteKeepAlive(out)}), "0600000000");
  const Bytes ping = Hex("0102030405060708");
  EXPECT_EQ(core::HexEncode({out, WritePong(out, ping.data())}), "13000000080102030405060708");
  EXPECT_EQ(core::HexEncode({out, WritePeerGone(out, Key(0xab), PeerGoneReason::kNotHere)}),
            "0800000021" + core::HexEncode(Key(0xab).raw) + "01");
  EXPECT_EQ(core::HexEncode({out, WriteRestarting(out, 1000, 10000)}),
            "1500000008000003e800002710");
  std::array<std::uint8_t, 32> key{};
  key.fill(0x11);
  EXPECT_EQ(core::HexEncode({out, WriteServerKey(out, key)}),
            "010000002844455250f09f9491" + core::HexEncode(key));
}

TEST(FrameWriter, PeerPresentHasTheAddressMappedAndTheFlags) {
  std::uint8_t out[kPeerPresentFrameBytes];
  const auto remote = core::SocketAddress::Parse("192.0.2.33:32853").value();
  ASSERT_EQ(WritePeerPresent(out, Key(1), remote, kPresentRegular), sizeof(out));
  EXPECT_EQ(core::HexEncode(out), "0900000033" + core::HexEncode(Key(1).raw) +
                                      "00000000000000000000ffffc0000221" + "8055" + "01");
  WritePeerPresent(out, Key(1), {}, kPresentMeshPeer);
  EXPECT_EQ(core::HexEncode(core::Bytes(out).subspan(37)),
            "00000000000000000000000000000000"
            "0000"
            "02");
}

TEST(FrameWriter, SendPacketBecomesRecvPacketInPlace) {
  Bytes frame = FrameOf(0x04, 32 + 3);
  std::copy_n(Hex("aabbcc").begin(), 3, frame.end() - 3);
  RewriteToRecvPacket(frame.data(), Key(0x77));
  EXPECT_EQ(core::HexEncode(frame), "0500000023" + core::HexEncode(Key(0x77).raw) + "aabbcc");
}

TEST(FrameWriter, ForwardPacketBecomesRecvPacketFurtherOn) {
  Bytes frame = FrameOf(0x0a, 64 + 3);
  std::fill_n(frame.begin() + 5, 32, 0x01);
  std::fill_n(frame.begin() + 37, 32, 0x02);
  std::copy_n(Hex("aabbcc").begin(), 3, frame.end() - 3);
  const std::uint8_t* at = RewriteForwardToRecvPacket(frame.data(), 67);
  ASSERT_EQ(at, frame.data() + 32);
  EXPECT_EQ(core::HexEncode({at, 40}), "0500000023" + core::HexEncode(Key(0x01).raw) + "aabbcc");
}

TEST(Disco, NeedsMagicAndRoomForKeyAndNonce) {
  Bytes packet(62, 0);
  std::copy_n(kDiscoMagic, sizeof(kDiscoMagic), packet.begin());
  EXPECT_TRUE(LooksLikeDisco(packet));
  EXPECT_FALSE(LooksLikeDisco(core::Bytes(packet).first(61)));
  packet[5] ^= 1;
  EXPECT_FALSE(LooksLikeDisco(packet));
  EXPECT_FALSE(LooksLikeDisco({}));
}

// --- reading ---

struct LengthCase {
  std::uint8_t type;
  std::uint32_t length;
  bool accepted;
};

class ServerLengths : public testing::TestWithParam<LengthCase> {};

TEST_P(ServerLengths, AreJudgedFromTheHeaderAlone) {
  const LengthCase& c = GetParam();
  Bytes header(kHeaderBytes);
  header[0] = c.type;
  core::StoreBe32(header.data() + 1, c.length);
  ServerFrameReader reader;
  const auto step = reader.Next(header);
  if (!c.accepted) {
    EXPECT_EQ(step.status, ServerFrameReader::Status::kBadLength);
  } else if (c.length == 0) {
    EXPECT_EQ(step.status, ServerFrameReader::Status::kFrame);
  } else {
    EXPECT_EQ(step.status, ServerFrameReader::Status::kNeedMore);
    EXPECT_EQ(step.consumed, 0u);
    EXPECT_EQ(step.needed, kHeaderBytes + c.length);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ServerLengths,
                         testing::Values(LengthCase{0x04, 31, false}, LengthCase{0x04, 32, true},
                                         LengthCase{0x04, 65568, true},
                                         LengthCase{0x04, 65569, false},
                                         LengthCase{0x04, 0xffffffff, false},
                                         LengthCase{0x0a, 63, false}, LengthCase{0x0a, 64, true},
                                         LengthCase{0x0a, 65600, true},
                                         LengthCase{0x0a, 65601, false}, LengthCase{0x12, 7, false},
                                         LengthCase{0x12, 8, true}, LengthCase{0x12, 1000, true},
                                         LengthCase{0x12, 1001, false}, LengthCase{0x07, 0, false},
                                         LengthCase{0x07, 1, true}, LengthCase{0x07, 2, false},
                                         LengthCase{0x10, 0, true}, LengthCase{0x10, 1, false},
                                         LengthCase{0x11, 31, false}, LengthCase{0x11, 32, true},
                                         LengthCase{0x11, 33, false}));

TEST(FrameReader, LoginAcceptsClientInfoOnly) {
  for (const auto& c : {LengthCase{0x02, 55, false},
                        {0x02, 56, true},
                        {0x02, 262144, true},
                        {0x02, 262145, false},
                        {0x04, 40, false},
                        {0x06, 0, false},
                        {0x99, 0, false}}) {
    Bytes header(kHeaderBytes);
    header[0] = c.type;
    core::StoreBe32(header.data() + 1, c.length);
    LoginFrameReader reader;
    EXPECT_EQ(reader.Next(header).status, c.accepted ? LoginFrameReader::Status::kNeedMore
                                                     : LoginFrameReader::Status::kBadLength);
  }
}

TEST(FrameReader, EverySplitOfEveryKnownFrameGivesTheSameFrame) {
  const std::pair<std::uint8_t, std::size_t> kinds[] = {
      {0x04, 32}, {0x04, 40}, {0x0a, 70}, {0x12, 8}, {0x07, 1}, {0x10, 0}, {0x11, 32}};
  for (const auto& [type, payload] : kinds) {
    Bytes frame = FrameOf(type, payload);
    for (std::size_t split = 0; split < frame.size(); ++split) {
      ServerFrameReader reader;
      const auto first = reader.Next({frame.data(), split});
      ASSERT_EQ(first.status, ServerFrameReader::Status::kNeedMore);
      EXPECT_EQ(first.consumed, 0u);
      EXPECT_EQ(first.needed, split < kHeaderBytes ? kHeaderBytes : frame.size());
      const auto second = reader.Next(frame);
      ASSERT_EQ(second.status, ServerFrameReader::Status::kFrame);
      EXPECT_EQ(second.consumed, frame.size());
      EXPECT_EQ(second.frame.frame.data(), frame.data());
      EXPECT_EQ(second.frame.payload().size(), payload);
    }
  }
}

TEST(FrameReader, SkipsUnknownFramesWithoutHoldingThem) {
  // ServerKey, second ClientInfo, KeepAlive, Pong, Health and nonsense, as derper
  // treats them; then a ping.
  Bytes stream;
  for (const int type : {1, 2, 3, 5, 6, 8, 9, 0x13, 0x14, 0x15, 0xff}) {
    const Bytes frame = FrameOf(static_cast<std::uint8_t>(type), 100);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  const Bytes ping = FrameOf(0x12, 8);
  stream.insert(stream.end(), ping.begin(), ping.end());
  for (std::size_t piece = 1; piece < 40; ++piece) {
    ServerFrameReader reader;
    Bytes held;
    std::uint32_t skipped = 0;
    int frames = 0;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = std::min(piece, stream.size() - at);
      held.insert(held.end(), stream.begin() + static_cast<std::ptrdiff_t>(at),
                  stream.begin() + static_cast<std::ptrdiff_t>(at + size));
      at += size;
      for (;;) {
        const auto step = reader.Next(held);
        skipped += step.skipped_frames;
        ASSERT_NE(step.status, ServerFrameReader::Status::kBadLength);
        const bool frame = step.status == ServerFrameReader::Status::kFrame;
        frames += frame ? 1 : 0;
        held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(step.consumed));
        if (!frame) break;
      }
      // Never more than a header of an unknown frame, or the ping.
      EXPECT_LT(held.size(), ping.size());
    }
    EXPECT_EQ(skipped, 11u);
    EXPECT_EQ(frames, 1);
  }
}

TEST(FrameReader, SkipsTheLongestUnknownFrame) {
  Bytes header(kHeaderBytes);
  header[0] = 0x77;
  core::StoreBe32(header.data() + 1, 0xffffffffu);
  ServerFrameReader reader;
  EXPECT_EQ(reader.Next(header).consumed, kHeaderBytes);
  EXPECT_TRUE(reader.skipping());
  Bytes chunk(1 << 20, 0x04);
  std::uint64_t left = 0xffffffffu;
  while (left > chunk.size()) {
    EXPECT_EQ(reader.Next(chunk).consumed, chunk.size());
    left -= chunk.size();
  }
  EXPECT_EQ(reader.Next({chunk.data(), static_cast<std::size_t>(left)}).consumed, left);
  EXPECT_FALSE(reader.skipping());
}

TEST(FrameReader, ClientSideTakesServerFramesAndRefusesHugeOnes) {
  ClientFrameReader reader;
  Bytes frame = FrameOf(0x05, 40);
  EXPECT_EQ(reader.Next(frame).status, ClientFrameReader::Status::kFrame);
  core::StoreBe32(frame.data() + 1, (1u << 20) + 1);
  EXPECT_EQ(reader.Next(frame).status, ClientFrameReader::Status::kBadLength);
}

}  // namespace
}  // namespace ringscale::relay
