// Hashes, HKDF, X25519 and the AEAD by published vectors, then all of them
// together by the published vector of Noise_IK_25519_ChaChaPoly_BLAKE2s.
#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "core/base/hex.h"
#include "core/crypto/chacha20poly1305.h"
#include "core/crypto/hash.h"
#include "core/crypto/secret_text.h"
#include "core/crypto/x25519.h"

namespace ringscale::core {
namespace {

using chacha20poly1305::Key;
using chacha20poly1305::Nonce;

template <std::size_t kSize>
std::array<std::uint8_t, kSize> Hex(std::string_view text) {
  std::array<std::uint8_t, kSize> out{};
  EXPECT_TRUE(HexDecodeTo(text, out)) << text;
  return out;
}

TEST(Hash, PublishedVectors) {
  // RFC 7693 appendix B.
  EXPECT_EQ(HexEncode(Blake2s256(AsBytes("abc"))),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
  EXPECT_EQ(Blake2s256(AsBytes("a"), AsBytes("bc")), Blake2s256(AsBytes("abc")));
  EXPECT_EQ(HexEncode(Blake2s256({})),
            "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
  EXPECT_EQ(HexEncode(Blake2b256(AsBytes("abc"))),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  EXPECT_EQ(HexEncode(Blake2b256({})),
            "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(HexEncode(Sha256(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexEncode(Blake2s256(AsBytes("Noise_IK_25519_ChaChaPoly_BLAKE2s"))),
            "bbea022b948cf3bc5857d70804229179e1116bc40cb8cc074835349c464bca36");
}

TEST(Hash, HmacHashesLongKeysAndPadsShortOnes) {
  const std::string key(100, 'k');
  const Digest256 hashed = Blake2s256(AsBytes(key));
  EXPECT_EQ(HmacBlake2s(AsBytes(key), AsBytes("m")), HmacBlake2s(hashed, AsBytes("m")));
  std::vector<std::uint8_t> padded(hashed.begin(), hashed.end());
  padded.resize(64);
  EXPECT_EQ(HmacBlake2s(padded, AsBytes("m")), HmacBlake2s(hashed, AsBytes("m")));
  EXPECT_EQ(HmacBlake2s(hashed, AsBytes("ab"), AsBytes("c")), HmacBlake2s(hashed, AsBytes("abc")));
}

// RFC 7748 section 6.1.
TEST(X25519, PublishedVector) {
  const PrivateKey alice = PrivateKey::FromRaw(
      Hex<32>("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  const PrivateKey bob = PrivateKey::FromRaw(
      Hex<32>("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  const std::optional<SharedSecret> secret = X25519(alice, bob.PublicRaw());
  ASSERT_TRUE(secret);
  EXPECT_EQ(HexEncode(*secret), "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  EXPECT_EQ(X25519(bob, alice.PublicRaw()), secret);
}

TEST(X25519, LowOrderPointsAreRefused) {
  const PrivateKey key = PrivateKey::Generate();
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    EXPECT_FALSE(X25519(key, Hex<32>(point))) << point;
  }
}

// RFC 8439 section 2.8.2.
TEST(ChaCha20Poly1305, PublishedVector) {
  const std::string text =
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
      "sunscreen would be it.";
  Key key;
  std::iota(key.begin(), key.end(), std::uint8_t{0x80});
  const Nonce nonce = Hex<12>("070000004041424344454647");
  const auto ad = Hex<12>("50515253c0c1c2c3c4c5c6c7");
  std::vector<std::uint8_t> sealed(text.size() + chacha20poly1305::kTagSize);
  ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, ad, AsBytes(text), sealed));
  EXPECT_EQ(HexEncode(Bytes(sealed).first(16)), "d31a8d34648e60db7b86afbc53ef7ec2");
  EXPECT_EQ(HexEncode(Bytes(sealed).last(16)), "1ae10b594f09e26a7e902ecbd0600691");
  std::string opened(text.size(), '\0');
  ASSERT_TRUE(chacha20poly1305::Open(
      key, nonce, ad, sealed,
      MutableBytes(reinterpret_cast<std::uint8_t*>(opened.data()), opened.size())));
  EXPECT_EQ(opened, text);
}

TEST(ChaCha20Poly1305, PiecesInPlaceAndEmptyGiveTheSame) {
  Key key;
  key.fill(7);
  const Nonce nonce = chacha20poly1305::CounterNonce(256);
  EXPECT_EQ(HexEncode(nonce), "000000000000000000000100");
  const std::string text(300, 'x');
  std::vector<std::uint8_t> whole(text.size() + 16);
  ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, {}, AsBytes(text), whole));
  for (std::size_t split : {0U, 1U, 63U, 64U, 65U, 299U, 300U}) {
    const std::array<std::string_view, 3> pieces = {std::string_view(text).substr(0, split), "",
                                                    std::string_view(text).substr(split)};
    std::vector<std::uint8_t> gathered(text.size() + 16);
    ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, {}, pieces, gathered));
    EXPECT_EQ(gathered, whole) << split;
  }
  std::vector<std::uint8_t> memory(text.begin(), text.end());
  memory.resize(text.size() + 16);
  ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, {}, Bytes(memory).first(text.size()), memory));
  EXPECT_EQ(memory, whole);
  ASSERT_TRUE(
      chacha20poly1305::Open(key, nonce, {}, memory, MutableBytes(memory).first(text.size())));
  EXPECT_EQ(AsText(Bytes(memory).first(text.size())), text);

  std::array<std::uint8_t, 16> tag;
  ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, AsBytes("ad"), Bytes(), tag));
  EXPECT_TRUE(chacha20poly1305::Open(key, nonce, AsBytes("ad"), tag, {}));
  EXPECT_FALSE(chacha20poly1305::Open(key, nonce, AsBytes("aD"), tag, {}));
}

TEST(ChaCha20Poly1305, EnginesAgreeForAllSizesAndSplits) {
  using chacha20poly1305::Engine;
  Key key;
  key.fill(0x5d);
  const std::string text(4077, 'e');
  for (std::size_t size = 0; size <= text.size(); size += size < 700 ? 1 : 97) {
    const Nonce nonce = chacha20poly1305::CounterNonce(size * 0x100000001);
    const std::string_view part = std::string_view(text).substr(0, size);
    const std::array<std::string_view, 4> pieces = {part.substr(0, size / 7), "",
                                                    part.substr(size / 7, size / 3),
                                                    part.substr(size / 7 + size / 3)};
    std::vector<std::uint8_t> openssl(size + 16);
    std::vector<std::uint8_t> ipsec(size + 16);
    ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, AsBytes("ad"), AsBytes(part), openssl,
                                       Engine::kOpenSsl));
    ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, AsBytes("ad"), pieces, ipsec, Engine::kIpsecMb));
    ASSERT_EQ(openssl, ipsec) << size;
    for (const Engine engine : {Engine::kOpenSsl, Engine::kIpsecMb}) {
      std::vector<std::uint8_t> memory = ipsec;
      ASSERT_TRUE(chacha20poly1305::Open(key, nonce, AsBytes("ad"), memory,
                                         MutableBytes(memory).first(size), engine));
      ASSERT_EQ(AsText(Bytes(memory).first(size)), part);
      memory = ipsec;
      memory[size / 2] ^= 1;
      ASSERT_FALSE(chacha20poly1305::Open(key, nonce, AsBytes("ad"), memory,
                                          MutableBytes(memory).first(size), engine));
    }
  }
  EXPECT_FALSE(chacha20poly1305::ChooseEngine().description.empty());
}

TEST(ChaCha20Poly1305, ForgeriesAndWrongSizesAreRefused) {
  Key key;
  key.fill(9);
  const Nonce nonce{};
  std::array<std::uint8_t, 21> sealed;
  ASSERT_TRUE(chacha20poly1305::Seal(key, nonce, {}, AsBytes("hello"), sealed));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::array<std::uint8_t, 21> bad = sealed;
    bad[i] ^= 1;
    std::array<std::uint8_t, 5> out = {1, 1, 1, 1, 1};
    EXPECT_FALSE(chacha20poly1305::Open(key, nonce, {}, bad, out)) << i;
    EXPECT_EQ(out, (std::array<std::uint8_t, 5>{})) << "nothing forged is left behind";
  }
  std::array<std::uint8_t, 5> out;
  EXPECT_TRUE(chacha20poly1305::Open(key, nonce, {}, sealed, out)) << "after failures";
  EXPECT_FALSE(chacha20poly1305::Open(key, nonce, {}, Bytes(sealed).first(15), {}));
  EXPECT_FALSE(chacha20poly1305::Open(key, nonce, {}, sealed, MutableBytes(out).first(4)));
  EXPECT_FALSE(chacha20poly1305::Seal(key, nonce, {}, AsBytes("hello"), out));
}

TEST(SecretText, ComparesAndWipes) {
  EXPECT_TRUE(SecretEquals("secret", "secret"));
  EXPECT_FALSE(SecretEquals("secret", "secreT"));
  EXPECT_FALSE(SecretEquals("secret", "secre"));
  EXPECT_TRUE(SecretEquals("", ""));
  std::string text = "a secret that is longer than the short string";
  const char* memory = text.data();
  Wipe(text);
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(memory[0], 0);
}

// One side of the handshake, as the Noise specification writes it.
struct Symmetric {
  Digest256 hash;
  Digest256 chaining;
  Key key{};

  void MixHash(Bytes bytes) { hash = Blake2s256(hash, bytes); }
  void MixKey(const std::optional<SharedSecret>& secret) {
    ASSERT_TRUE(secret);
    const HkdfOutput out = HkdfBlake2s(chaining, *secret);
    chaining = out.first;
    key = out.second;
  }
  std::vector<std::uint8_t> EncryptAndHash(Bytes plaintext) {
    std::vector<std::uint8_t> sealed(plaintext.size() + 16);
    EXPECT_TRUE(chacha20poly1305::Seal(key, Nonce{}, hash, plaintext, sealed));
    MixHash(sealed);
    return sealed;
  }
};

TEST(Noise, PublishedVectorOfTheWholeHandshake) {
  const PrivateKey static_i = PrivateKey::FromRaw(
      Hex<32>("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"));
  const PrivateKey ephemeral_i = PrivateKey::FromRaw(
      Hex<32>("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"));
  const PrivateKey static_r = PrivateKey::FromRaw(
      Hex<32>("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"));
  const PrivateKey ephemeral_r = PrivateKey::FromRaw(
      Hex<32>("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"));

  Symmetric state;
  state.hash = Blake2s256(AsBytes("Noise_IK_25519_ChaChaPoly_BLAKE2s"));
  state.chaining = state.hash;
  state.MixHash(*HexDecode("4a6f686e2047616c74"));
  state.MixHash(static_r.PublicRaw());

  std::string message = HexEncode(ephemeral_i.PublicRaw());
  state.MixHash(ephemeral_i.PublicRaw());
  state.MixKey(X25519(ephemeral_i, static_r.PublicRaw()));
  message += HexEncode(state.EncryptAndHash(static_i.PublicRaw()));
  state.MixKey(X25519(static_i, static_r.PublicRaw()));
  message += HexEncode(state.EncryptAndHash(*HexDecode("4c756477696720766f6e204d69736573")));
  EXPECT_EQ(message,
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79440b03ddc7aac5123d06a1b2"
            "3b71670e32e76c28239a7ca4ac8f784de7e44c1adbfc6e83fef7352a58d9d56157400c0a737b1d171ce368"
            "229c7b752ac25b8faf4eca690f6d896f543be02c996ab2b86b76");

  message = HexEncode(ephemeral_r.PublicRaw());
  state.MixHash(ephemeral_r.PublicRaw());
  state.MixKey(X25519(ephemeral_r, ephemeral_i.PublicRaw()));
  state.MixKey(X25519(ephemeral_r, static_i.PublicRaw()));
  message += HexEncode(state.EncryptAndHash(*HexDecode("4d757272617920526f746862617264")));
  EXPECT_EQ(message,
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843d9b5a8927f0ac9655ef768"
            "33bc7e5561f42e691ac8404efd6fbd6308b6a27c");
  EXPECT_EQ(HexEncode(state.hash),
            "48f3cb8bc9319da4ba1e9933991b1c4ed4034f1f126a76d3a1fbcfd7f94248d4");

  const HkdfOutput split = HkdfBlake2s(state.chaining, {});
  state.key = split.first;
  std::vector<std::uint8_t> record(27);
  ASSERT_TRUE(chacha20poly1305::Seal(split.first, Nonce{}, {}, *HexDecode("462e20412e20486179656b"),
                                     record));
  EXPECT_EQ(HexEncode(record), "2c256ed08fcd08c2980f954ee4beaccb61c9581340f5dd2fd1cf3b");
  ASSERT_TRUE(chacha20poly1305::Seal(split.second, Nonce{}, {},
                                     *HexDecode("4361726c204d656e676572"), record));
  EXPECT_EQ(HexEncode(record), "d6033f70eee20945c7c9dba304e397ee3b284ff5e00fd9efb095d3");
}

// Records of the control protocol count in big-endian order.
TEST(Noise, RecordsOfTheControlProtocol) {
  const Key key = Hex<32>("5c591b6bc88039fb598c45334d246af59501be8061e51f3950afafc7d1fb28cb");
  const auto sealed = [&](std::uint64_t counter) {
    std::array<std::uint8_t, 21> record;
    EXPECT_TRUE(chacha20poly1305::Seal(key, chacha20poly1305::CounterNonce(counter), {},
                                       AsBytes("hello"), record));
    return HexEncode(record);
  };
  EXPECT_EQ(sealed(0), "f151e3d25a25eba7acb91362c6038c29237a5ab23e");
  EXPECT_EQ(sealed(1), "dd35ae70d155ecd13bbe7ead76102aad11a2366c11");
  EXPECT_EQ(sealed(256), "65744c8e945ff880f10e85ee772602052902964c36");
}

}  // namespace
}  // namespace ringscale::core
