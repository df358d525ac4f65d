#include "core/tls/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/tls/aead_choice.h"
#include "core/tls/key_cache.h"
#include "core/tls/key_schedule.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

constexpr std::uint8_t kHeader[] = {23, 3, 3, 1, 2};

DirectionKeys MakeKeys(Suite suite, std::uint8_t seed) {
  DirectionKeys keys;
  EXPECT_TRUE(
      InstallTrafficSecret(suite, std::vector<std::uint8_t>(SecretSize(suite), seed), keys));
  return keys;
}

std::vector<std::uint8_t> Plaintext(std::size_t size) {
  std::vector<std::uint8_t> text(size);
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<std::uint8_t>(i * 13 + size);
  return text;
}

std::vector<std::uint8_t> SealWhole(AeadPool& pool, Suite suite, const DirectionKeys& keys,
                                    const std::vector<std::uint8_t>& text) {
  std::vector<std::uint8_t> memory = text;
  memory.resize(text.size() + kAeadTagSize);
  EXPECT_TRUE(pool.SealInPlace(suite, keys, kHeader, MutableBytes(memory).first(text.size()),
                               memory.data() + text.size()));
  return memory;
}

std::vector<std::uint8_t> SealPieces(AeadPool& pool, Suite suite, const DirectionKeys& keys,
                                     const std::vector<std::uint8_t>& text, std::size_t piece) {
  std::vector<std::uint8_t> out(text.size() + kAeadTagSize);
  EXPECT_TRUE(pool.BeginSeal(suite, keys, kHeader));
  for (std::size_t at = 0; at < text.size(); at += piece) {
    const std::size_t size = std::min(piece, text.size() - at);
    EXPECT_TRUE(pool.SealPiece(Bytes(text).subspan(at, size), out.data() + at));
  }
  EXPECT_TRUE(pool.EndSeal(out.data() + text.size()));
  return out;
}

class AeadEngines : public testing::TestWithParam<Suite> {
 protected:
  AeadPool openssl_{AeadPool::Engine::kOpenSsl};
  AeadPool ipsec_{AeadPool::Engine::kIpsecMb};
};

// Every size up to more than a packet, then the neighbourhood of larger blocks.
std::vector<std::size_t> Sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= 1600; ++size) sizes.push_back(size);
  for (const std::size_t size : {2047, 2048, 2049, 4095, 4096, 4097, 8191, 12345, 16384, 16385}) {
    sizes.push_back(size);
  }
  return sizes;
}

TEST_P(AeadEngines, AgreeForAllSizes) {
  DirectionKeys keys = MakeKeys(GetParam(), 3);
  for (const std::size_t size : Sizes()) {
    keys.sequence = size * 0x1'0000'0001;
    const std::vector<std::uint8_t> text = Plaintext(size);
    const std::vector<std::uint8_t> sealed = SealWhole(openssl_, GetParam(), keys, text);
    ASSERT_EQ(SealWhole(ipsec_, GetParam(), keys, text), sealed) << size;
    for (AeadPool* pool : {&openssl_, &ipsec_}) {
      std::vector<std::uint8_t> memory = sealed;
      ASSERT_TRUE(pool->OpenInPlace(GetParam(), keys, kHeader, memory)) << size;
      memory.resize(size);
      ASSERT_EQ(memory, text) << size;
    }
  }
}

TEST_P(AeadEngines, PiecesGiveTheSameAsOneStep) {
  const DirectionKeys keys = MakeKeys(GetParam(), 4);
  for (const std::size_t size : {1, 15, 16, 17, 100, 141, 1437, 4000}) {
    const std::vector<std::uint8_t> text = Plaintext(size);
    const std::vector<std::uint8_t> sealed = SealWhole(openssl_, GetParam(), keys, text);
    for (const std::size_t piece : {1, 7, 16, 37, 64, 129, 1437}) {
      EXPECT_EQ(SealPieces(openssl_, GetParam(), keys, text, piece), sealed)
          << size << ' ' << piece;
      EXPECT_EQ(SealPieces(ipsec_, GetParam(), keys, text, piece), sealed) << size << ' ' << piece;
    }
  }
}

TEST_P(AeadEngines, EveryFlippedBitIsSeen) {
  const DirectionKeys keys = MakeKeys(GetParam(), 5);
  const std::vector<std::uint8_t> sealed = SealWhole(openssl_, GetParam(), keys, Plaintext(33));
  for (AeadPool* pool : {&openssl_, &ipsec_}) {
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      std::vector<std::uint8_t> bad = sealed;
      bad[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
      EXPECT_FALSE(pool->OpenInPlace(GetParam(), keys, kHeader, bad)) << bit;
    }
    constexpr std::uint8_t kOther[] = {23, 3, 3, 1, 3};
    std::vector<std::uint8_t> memory = sealed;
    EXPECT_FALSE(pool->OpenInPlace(GetParam(), keys, kOther, memory));
    DirectionKeys later = keys;
    later.sequence = 1;
    memory = sealed;
    EXPECT_FALSE(pool->OpenInPlace(GetParam(), later, kHeader, memory));
    memory.resize(kAeadTagSize - 1);
    EXPECT_FALSE(pool->OpenInPlace(GetParam(), keys, kHeader, memory));
    memory = sealed;
    EXPECT_TRUE(pool->OpenInPlace(GetParam(), keys, kHeader, memory));
  }
}

// More keys than any cache holds, in an order that evicts; both directions of a
// key share nothing.
TEST_P(AeadEngines, ManyKeysTakeTurns) {
  std::vector<DirectionKeys> keys;
  for (int i = 0; i < 200; ++i) {
    keys.push_back(MakeKeys(GetParam(), static_cast<std::uint8_t>(i)));
  }
  const std::vector<std::uint8_t> text = Plaintext(50);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      DirectionKeys& key = keys[(i * 77 + static_cast<std::size_t>(round)) % keys.size()];
      AeadPool fresh(AeadPool::Engine::kOpenSsl);
      const std::vector<std::uint8_t> sealed = SealWhole(fresh, GetParam(), key, text);
      for (AeadPool* pool : {&openssl_, &ipsec_}) {
        ASSERT_EQ(SealWhole(*pool, GetParam(), key, text), sealed);
        std::vector<std::uint8_t> memory = sealed;
        ASSERT_TRUE(pool->OpenInPlace(GetParam(), key, kHeader, memory));
      }
      ++key.sequence;
    }
  }
}

TEST_P(AeadEngines, KeysWithoutANameAreNeverMixedUp) {
  DirectionKeys a = MakeKeys(GetParam(), 1);
  DirectionKeys b = MakeKeys(GetParam(), 2);
  const std::vector<std::uint8_t> text = Plaintext(20);
  const std::vector<std::uint8_t> of_a = SealWhole(openssl_, GetParam(), a, text);
  const std::vector<std::uint8_t> of_b = SealWhole(openssl_, GetParam(), b, text);
  a.key_id = b.key_id = 0;
  for (AeadPool* pool : {&openssl_, &ipsec_}) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(SealWhole(*pool, GetParam(), a, text), of_a);
      EXPECT_EQ(SealWhole(*pool, GetParam(), b, text), of_b);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, AeadEngines, testing::ValuesIn(test::kAllSuites),
                         [](const auto& test) { return std::string(test::SuiteName(test.param)); });

TEST(AeadChoice, IsMadeOnceAndSaysWhy) {
  const GcmChoice& choice = ChooseGcm();
  EXPECT_EQ(&choice, &ChooseGcm());
  EXPECT_FALSE(choice.description.empty());
  EXPECT_TRUE(choice.ipsec_agrees || !choice.use_ipsec);
  const AeadPool pool;
  EXPECT_EQ(pool.gcm_engine(),
            choice.use_ipsec ? AeadPool::Engine::kIpsecMb : AeadPool::Engine::kOpenSsl);
}

TEST(KeyCache, KeepsTheMostRecentlyUsedOfASet) {
  KeyCache<8> cache;  // two sets of four
  for (const std::uint64_t id : {2, 4, 6, 8}) EXPECT_TRUE(cache.Find(id).fresh);
  const std::size_t slot = cache.Find(2).slot;
  EXPECT_FALSE(cache.Find(2).fresh);
  EXPECT_TRUE(cache.Find(10).fresh);  // 4 was the oldest
  EXPECT_FALSE(cache.Find(2).fresh);
  EXPECT_EQ(cache.Find(2).slot, slot);
  EXPECT_FALSE(cache.Find(6).fresh);
  EXPECT_TRUE(cache.Find(4).fresh);
  EXPECT_TRUE(cache.Find(1).fresh);  // the other set
  EXPECT_FALSE(cache.Find(2).fresh);
  cache.Forget(cache.Find(2).slot);
  EXPECT_TRUE(cache.Find(2).fresh);
  EXPECT_TRUE(cache.Find(0).fresh);
  EXPECT_TRUE(cache.Find(0).fresh) << "0 never hits";
}

}  // namespace
}  // namespace ringscale::core::tls
