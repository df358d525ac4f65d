#include "core/crypto/keys.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/base/hex.h"

namespace ringscale::core {
namespace {

const std::string kOnes(64, '1');

TEST(Keys, TextRoundTrips) {
  const std::optional<NodePublic> key = NodePublic::Parse("nodekey:" + kOnes);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->raw[0], 0x11);
  EXPECT_EQ(key->text(), "nodekey:" + kOnes);
  EXPECT_FALSE(key->zero());
  EXPECT_EQ(MachinePublic{}.text(), "mkey:" + std::string(64, '0'));
  EXPECT_TRUE(MachinePublic{}.zero());
}

TEST(Keys, HexOfEitherCaseIsAccepted) {
  const std::optional<DiscoPublic> key = DiscoPublic::Parse("discokey:" + std::string(64, 'A'));
  ASSERT_TRUE(key);
  EXPECT_EQ(key->text(), "discokey:" + std::string(64, 'a'));
}

TEST(Keys, MalformedTextIsRefused) {
  EXPECT_FALSE(NodePublic::Parse(""));
  EXPECT_FALSE(NodePublic::Parse(kOnes));
  EXPECT_FALSE(NodePublic::Parse("mkey:" + kOnes));
  EXPECT_FALSE(NodePublic::Parse("nodekey:" + kOnes.substr(1)));
  EXPECT_FALSE(NodePublic::Parse("nodekey:" + kOnes + "1"));
  EXPECT_FALSE(NodePublic::Parse("nodekey:" + kOnes.substr(1) + "g"));
  EXPECT_FALSE(NodePublic::Parse("NODEKEY:" + kOnes));
  EXPECT_FALSE(PrivateKey::Parse("nodekey:" + kOnes));
}

// RFC 7748 section 6.1.
TEST(Keys, PublicKeyOfPublishedVector) {
  const std::optional<PrivateKey> published =
      PrivateKey::Parse("privkey:77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  ASSERT_TRUE(published);
  EXPECT_EQ(HexEncode(published->PublicRaw()),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
}

TEST(Keys, GeneratedKeysAreClampedAndDiffer) {
  const PrivateKey a = PrivateKey::Generate();
  const PrivateKey b = PrivateKey::Generate();
  EXPECT_EQ(a.raw()[0] & 7, 0);
  EXPECT_EQ(a.raw()[31] & 0xc0, 0x40);
  EXPECT_NE(a.PublicRaw(), b.PublicRaw());
  EXPECT_EQ(a.PublicAs<NodePublic>().raw, a.PublicRaw());
}

TEST(Keys, MovedFromPrivateKeyIsWiped) {
  PrivateKey a = PrivateKey::Generate();
  const std::string text = a.TextForKeyFile();
  const PrivateKey b = std::move(a);
  EXPECT_EQ(b.TextForKeyFile(), text);
  EXPECT_EQ(a.TextForKeyFile(), "privkey:" + std::string(64, '0'));  // NOLINT: that is the test
  std::optional<PrivateKey> again = PrivateKey::Parse(text);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->PublicRaw(), b.PublicRaw());
}

}  // namespace
}  // namespace ringscale::core
