#include "core/tls/key_schedule.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/base/hex.h"
#include "core/tls/records.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

// RFC 8448 section 3, "Simple 1-RTT Handshake".
constexpr std::string_view kClientSecret =
    "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
constexpr std::string_view kServerSecret =
    "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
constexpr std::string_view kClientRecord =
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e"
    "2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";

TEST(KeySchedule, PublishedTrafficKeys) {
  DirectionKeys keys;
  ASSERT_TRUE(InstallTrafficSecret(Suite::kAes128GcmSha256, *HexDecode(kServerSecret), keys));
  EXPECT_EQ(HexEncode(Bytes(keys.key, 16)), "9f02283b6c9c07efc26bb9f2ac92e356");
  EXPECT_EQ(HexEncode(keys.iv), "cf782b88dd83549aadf1e984");
  ASSERT_TRUE(InstallTrafficSecret(Suite::kAes128GcmSha256, *HexDecode(kClientSecret), keys));
  EXPECT_EQ(HexEncode(Bytes(keys.key, 16)), "17422dda596ed5d9acd890e3c63f5051");
  EXPECT_EQ(HexEncode(keys.iv), "5b78923dee08579033e523d9");
  EXPECT_EQ(keys.sequence, 0U);
}

TEST(KeySchedule, PublishedRecordOpensAndIsSealedTheSame) {
  std::vector<std::uint8_t> plaintext(50);
  for (std::size_t i = 0; i < plaintext.size(); ++i) plaintext[i] = static_cast<std::uint8_t>(i);
  for (const AeadPool::Engine engine : {AeadPool::Engine::kOpenSsl, AeadPool::Engine::kIpsecMb}) {
    AeadPool pool(engine);
    RecordKeys keys;
    ASSERT_TRUE(
        InstallTrafficSecret(Suite::kAes128GcmSha256, *HexDecode(kClientSecret), keys.receive));
    ASSERT_TRUE(
        InstallTrafficSecret(Suite::kAes128GcmSha256, *HexDecode(kClientSecret), keys.send));
    const Bytes pieces[] = {plaintext};
    std::vector<std::uint8_t> record(SealedSize(keys, plaintext.size()));
    ASSERT_EQ(SealRecords(keys, pool, pieces, record), record.size());
    EXPECT_EQ(HexEncode(record), kClientRecord);
    const RecordEvent event = RecordReader::Next(keys, pool, record);
    ASSERT_EQ(event.kind, RecordEvent::Kind::kData);
    EXPECT_EQ(test::Text(event.data), test::Text(plaintext));
    EXPECT_EQ(event.consumed, record.size());
  }
}

TEST(KeySchedule, EveryGenerationDiffersAndHasANameOfItsOwn) {
  for (const Suite suite : test::kAllSuites) {
    const std::vector<std::uint8_t> secret(SecretSize(suite), 1);
    DirectionKeys keys;
    ASSERT_TRUE(InstallTrafficSecret(suite, secret, keys));
    DirectionKeys before = keys;
    keys.sequence = 9;
    ASSERT_TRUE(AdvanceTrafficSecret(suite, keys));
    EXPECT_EQ(keys.sequence, 0U);
    EXPECT_NE(keys.key_id, before.key_id);
    EXPECT_NE(std::memcmp(keys.secret, before.secret, SecretSize(suite)), 0);
    EXPECT_NE(std::memcmp(keys.key, before.key, KeySize(suite)), 0);
    EXPECT_NE(std::memcmp(keys.iv, before.iv, sizeof(keys.iv)), 0);
  }
}

TEST(KeySchedule, SecretsOfAWrongSizeAreRefused) {
  DirectionKeys keys;
  const std::vector<std::uint8_t> secret(48);
  EXPECT_FALSE(InstallTrafficSecret(Suite::kAes128GcmSha256, secret, keys));
  EXPECT_FALSE(InstallTrafficSecret(Suite::kAes256GcmSha384, Bytes(secret).first(32), keys));
  EXPECT_FALSE(InstallTrafficSecret(Suite::kAes128GcmSha256, {}, keys));
}

TEST(RecordKeys, MovedFromKeysAreWiped) {
  test::Ends ends = test::MakeEnds(Suite::kAes256GcmSha384);
  ends.server->key_update_pending = true;
  const RecordKeys moved = std::move(*ends.server);
  EXPECT_TRUE(moved.key_update_pending);
  EXPECT_EQ(moved.receive.secret[0], 0x5a);
  const std::uint8_t empty[sizeof(DirectionKeys)] = {};  // padding included
  EXPECT_EQ(std::memcmp(&ends.server->receive, &empty, sizeof(empty)), 0);
  EXPECT_EQ(std::memcmp(&ends.server->send, &empty, sizeof(empty)), 0);
}

}  // namespace
}  // namespace ringscale::core::tls
