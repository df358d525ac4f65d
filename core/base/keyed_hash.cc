#include "core/base/keyed_hash.h"

#include <bit>

#include "core/base/random.h"

namespace ringscale::core {
namespace {

struct SipState {
  std::uint64_t v0;
  std::uint64_t v1;
  std::uint64_t v2;
  std::uint64_t v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Absorb(std::uint64_t word) {
    v3 ^= word;
    Round();
    v0 ^= word;
  }
};

}  // namespace

const HashSecret& ProcessHashSecret() {
  static const HashSecret secret{SecureRandom64(), SecureRandom64()};
  return secret;
}

// J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast short-input PRF", with one
// round per word and three at the end.
std::uint64_t KeyedHash(const HashSecret& secret, Bytes bytes) {
  SipState state{secret.k0 ^ 0x736f6d6570736575u, secret.k1 ^ 0x646f72616e646f6du,
                 secret.k0 ^ 0x6c7967656e657261u, secret.k1 ^ 0x7465646279746573u};
  const std::size_t whole = bytes.size() / 8 * 8;
  for (std::size_t i = 0; i < whole; i += 8) state.Absorb(LoadLe64(bytes.data() + i));
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (std::size_t i = whole; i < bytes.size(); ++i) {
    last |= static_cast<std::uint64_t>(bytes[i]) << (8 * (i - whole));
  }
  state.Absorb(last);
  state.v2 ^= 0xff;
  for (int i = 0; i < 3; ++i) state.Round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace ringscale::core
