// ChaCha20-Poly1305 (RFC 8439), for the records of Noise. The cipher contexts
// belong to the calling thread; no allocation after its first call. They keep
// the last key until the next call or the thread's end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::core::chacha20poly1305 {

inline constexpr std::size_t kTagSize = 16;
using Key = std::array<std::uint8_t, 32>;
using Nonce = std::array<std::uint8_t, 12>;

// Four zero bytes and the counter in big-endian order: the control protocol's
// nonce (it deviates from Noise, which counts in little-endian order).
[[nodiscard]] Nonce CounterNonce(std::uint64_t counter);

// Who computes it: OpenSSL, or libipsec-mb where that is built in and faster.
enum class Engine : std::uint8_t {
  kAuto,  // the choice below
  kOpenSsl,
  kIpsecMb,  // OpenSSL where the library or the CPU lacks it
};
struct EngineChoice {
  Engine engine = Engine::kOpenSsl;
  bool ipsec_agrees = false;  // available, and equal to OpenSSL on the test records
  std::string description;    // with the measurements, for the log of the start
};
// A self-test at its first call in the process (about a millisecond). Any thread.
const EngineChoice& ChooseEngine();

// Writes ciphertext and tag. out.size() must be the plaintext's size + kTagSize.
// In place (same start) is allowed with a single piece. False only for a wrong
// size of `out`.
[[nodiscard]] bool Seal(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, MutableBytes out,
                        Engine engine = Engine::kAuto);
[[nodiscard]] bool Seal(const Key& key, const Nonce& nonce, Bytes ad,
                        std::span<const std::string_view> pieces, MutableBytes out,
                        Engine engine = Engine::kAuto);

// out.size() must be in.size() - kTagSize; in place is allowed. False, with `out`
// zeroed, when the tag does not fit.
[[nodiscard]] bool Open(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, MutableBytes out,
                        Engine engine = Engine::kAuto);

}  // namespace ringscale::core::chacha20poly1305
