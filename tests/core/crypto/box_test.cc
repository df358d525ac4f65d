#include "core/crypto/box.h"

#include <gtest/gtest.h>

#include "core/base/hex.h"

namespace ringscale::core {
namespace {

// A DERP login, computed with another implementation of crypto_box.
const std::string kServerPrivate =
    "privkey:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e5f";
const std::string kServerPublic =
    "nodekey:8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f";
const std::string kClientPrivate =
    "privkey:404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";
const std::string kClientPublic =
    "nodekey:79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a";
// ClientInfo and ServerInfo frames behind the frame header (and the client's key).
const std::string kClientInfo =
    "808182838485868788898a8b8c8d8e8f9091929394959697"
    "219290e45b879379dd5af3505633034260e86b271f0a2091260647be758d3445"
    "607eef60d6d92e3f52e1171484fcdf5c";
const std::string kServerInfo =
    "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7"
    "fc001d140ce0aeef2cb5de10320f7b595bccd5722da5dd895c5058ef96";

class BoxTest : public testing::Test {
 protected:
  PrivateKey server_ = *PrivateKey::Parse(kServerPrivate);
  PrivateKey client_ = *PrivateKey::Parse(kClientPrivate);
  NodePublic server_public_ = *NodePublic::Parse(kServerPublic);
  NodePublic client_public_ = *NodePublic::Parse(kClientPublic);
};

TEST_F(BoxTest, PublicKeysOfTheVectors) {
  EXPECT_EQ(server_.PublicAs<NodePublic>(), server_public_);
  EXPECT_EQ(client_.PublicAs<NodePublic>(), client_public_);
}

TEST_F(BoxTest, OpensClientInfo) {
  EXPECT_EQ(OpenBox(server_, client_public_.raw, *HexDecode(kClientInfo)),
            R"({"version":2,"CanAckPings":true})");
}

TEST_F(BoxTest, SealsServerInfo) {
  BoxNonce nonce;
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::uint8_t>(0xa0 + i);
  const std::optional<std::string> sealed =
      SealBox(server_, client_public_.raw, R"({"version":2})", nonce);
  ASSERT_TRUE(sealed);
  EXPECT_EQ(HexEncode(AsBytes(*sealed)), kServerInfo);
}

TEST_F(BoxTest, RandomNonceRoundTrips) {
  const std::optional<std::string> a = SealBox(client_, server_public_.raw, "hello");
  const std::optional<std::string> b = SealBox(client_, server_public_.raw, "hello");
  ASSERT_TRUE(a && b);
  EXPECT_NE(*a, *b);
  EXPECT_EQ(OpenBox(server_, client_public_.raw, AsBytes(*a)), "hello");
  const std::optional<std::string> empty = SealBox(client_, server_public_.raw, "");
  ASSERT_TRUE(empty);
  EXPECT_EQ(OpenBox(server_, client_public_.raw, AsBytes(*empty)), "");
}

TEST_F(BoxTest, EveryFlippedBitAndEveryTruncationIsRefused) {
  const std::vector<std::uint8_t> good = *HexDecode(kClientInfo);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<std::uint8_t> bad = good;
    bad[i] ^= 0x40;
    EXPECT_FALSE(OpenBox(server_, client_public_.raw, bad)) << i;
    EXPECT_FALSE(OpenBox(server_, client_public_.raw, Bytes(good).first(i))) << i;
  }
  EXPECT_FALSE(OpenBox(server_, server_public_.raw, good));
  EXPECT_FALSE(OpenBox(client_, client_public_.raw, good));
}

TEST_F(BoxTest, ZeroKeyIsRefused) {
  EXPECT_FALSE(OpenBox(server_, NodePublic{}.raw, *HexDecode(kClientInfo)));
  EXPECT_FALSE(SealBox(server_, NodePublic{}.raw, "x"));
}

}  // namespace
}  // namespace ringscale::core
