#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/hex.h"
#include "relay/stun/responder.h"

namespace ringscale::relay {
namespace {

constexpr char kRequest[] =
    "000100142112a442000102030405060708090a0b802200087461696c6e6f6465802800048aabad90";

std::vector<std::uint8_t> Request() {
  return core::HexDecode(kRequest).value();
}

std::string Answer(const std::vector<std::uint8_t>& request, const char* source) {
  std::array<std::uint8_t, kMaxStunReplyBytes> out;
  const StunReply reply = AnswerStun(request, core::SocketAddress::Parse(source).value(), out);
  if (reply.disposition != StunDisposition::kSuccess) {
    EXPECT_EQ(reply.size, 0u);
    return "";
  }
  return core::HexEncode(core::Bytes(out).first(reply.size));
}

TEST(Stun, AnswersThePublishedVectors) {
  EXPECT_EQ(Answer(Request(), "192.0.2.33:32853"),
            "0101000c2112a442000102030405060708090a0b002000080001a147e112a663");
  EXPECT_EQ(Answer(Request(), "[2001:db8::5678]:41641"),
            "010100182112a442000102030405060708090a0b00200014000283bb"
            "0113a9fa000102030405060708095c73");
}

TEST(Stun, MakesTheRequestOfClients) {
  std::array<std::uint8_t, 12> transaction;
  for (std::size_t i = 0; i < transaction.size(); ++i) {
    transaction[i] = static_cast<std::uint8_t>(i);
  }
  EXPECT_EQ(core::HexEncode(MakeStunRequest(transaction)), kRequest);
}

TEST(Stun, AMappedAddressIsAnsweredAsIPv4) {
  EXPECT_EQ(Answer(Request(), "[::ffff:192.0.2.33]:32853").size(), 64u);
}

TEST(Stun, EveryTruncationIsSilent) {
  const auto request = Request();
  for (std::size_t size = 0; size < request.size(); ++size) {
    EXPECT_EQ(Answer({request.begin(), request.begin() + static_cast<std::ptrdiff_t>(size)},
                     "192.0.2.33:1"),
              "");
  }
}

TEST(Stun, EveryFlippedBitIsSilentExceptInTheHeadersLength) {
  const auto request = Request();
  for (std::size_t bit = 0; bit < request.size() * 8; ++bit) {
    auto damaged = request;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
    // The fingerprint covers everything, the header's length included.
    EXPECT_EQ(Answer(damaged, "192.0.2.33:1"), "") << "bit " << bit;
  }
}

// A request of these attributes, with a right fingerprint at the end unless not.
std::vector<std::uint8_t> WithAttributes(const std::string& hex, bool fingerprint = true,
                                         std::uint16_t header_length = 0xeeee) {
  auto request = core::HexDecode(
                     "0001"
                     "0000"
                     "2112a442000102030405060708090a0b" +
                     hex)
                     .value();
  core::StoreBe16(request.data() + 2, header_length);
  if (!fingerprint) return request;
  std::uint32_t crc = 0xffffffffu;
  for (const std::uint8_t byte : request) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  request.resize(request.size() + 8);
  core::StoreBe32(request.data() + request.size() - 8, 0x80280004);
  core::StoreBe32(request.data() + request.size() - 4, ~crc ^ 0x5354554e);
  return request;
}

TEST(Stun, FollowsTheAcceptanceRules) {
  const std::string software = "802200087461696c6e6f6465";
  // The header's length is not compared with the datagram.
  EXPECT_NE(Answer(WithAttributes(software), "192.0.2.33:1"), "");
  // Other attributes, padded ones too, may come along.
  EXPECT_NE(Answer(WithAttributes("8022000378797a00" + software), "192.0.2.33:1"), "");
  EXPECT_NE(Answer(WithAttributes(software + "0006000161000000"), "192.0.2.33:1"), "");
  // No SOFTWARE, or another one.
  EXPECT_EQ(Answer(WithAttributes(""), "192.0.2.33:1"), "");
  EXPECT_EQ(Answer(WithAttributes("802200087461696c6e6f6466"), "192.0.2.33:1"), "");
  EXPECT_EQ(Answer(WithAttributes("802200097461696c6e6f646500000000"), "192.0.2.33:1"), "");
  // No FINGERPRINT, or not last.
  EXPECT_EQ(Answer(WithAttributes(software, false), "192.0.2.33:1"), "");
  auto not_last = WithAttributes(software);
  const auto extra = core::HexDecode("00060000").value();
  not_last.insert(not_last.end(), extra.begin(), extra.end());
  EXPECT_EQ(Answer(not_last, "192.0.2.33:1"), "");
  // An attribute longer than what is there.
  EXPECT_EQ(Answer(WithAttributes(software + "0006ffff", false), "192.0.2.33:1"), "");
}

TEST(Stun, NothingForAnUnknownSource) {
  std::array<std::uint8_t, kMaxStunReplyBytes> out;
  EXPECT_EQ(AnswerStun(Request(), {}, out).disposition, StunDisposition::kNotStun);
}

}  // namespace
}  // namespace ringscale::relay
