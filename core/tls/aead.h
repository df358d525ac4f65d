// The ciphers of TLS 1.3 records. A pool belongs to one thread and holds what is
// dear to make per key (expanded keys, OpenSSL contexts) for the keys used last,
// so that a connection itself keeps 32 bytes of key. No allocation after the
// first record of a suite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/base/bytes.h"
#include "core/tls/record_keys.h"

namespace ringscale::core::tls {

inline constexpr std::size_t kAeadTagSize = 16;

class AeadPool {
 public:
  // Who computes AES-GCM. ChaCha20-Poly1305 is always OpenSSL's.
  enum class Engine : std::uint8_t {
    kAuto,  // what was faster, and right, in a self-test of the process
    kOpenSsl,
    kIpsecMb,  // OpenSSL where the library or the CPU lacks it
  };

  explicit AeadPool(Engine engine = Engine::kAuto);
  AeadPool(AeadPool&&) noexcept;
  AeadPool& operator=(AeadPool&&) noexcept;
  ~AeadPool();

  [[nodiscard]] Engine gcm_engine() const;  // kOpenSsl or kIpsecMb
  // Whether libipsec-mb is built in, runs on this CPU and agrees with OpenSSL.
  [[nodiscard]] static bool HasIpsecMb();
  // The choice of kAuto with its measurements, for the log of the start.
  [[nodiscard]] static const std::string& DescribeChoice();

  // Sealing one record in pieces: BeginSeal, SealPiece for every piece in order,
  // EndSeal. The nonce is made of keys.iv and keys.sequence, which the caller
  // advances. Pieces and output may be the same memory (same start), not overlap
  // otherwise. False only when OpenSSL fails for lack of memory.
  [[nodiscard]] bool BeginSeal(Suite suite, const DirectionKeys& keys, Bytes ad);
  [[nodiscard]] bool SealPiece(Bytes in, std::uint8_t* out);
  [[nodiscard]] bool EndSeal(std::uint8_t* tag);

  // The same in one step for plaintext that lies in one piece: memory becomes
  // ciphertext, the tag is written behind it (kAeadTagSize more bytes).
  [[nodiscard]] bool SealInPlace(Suite suite, const DirectionKeys& keys, Bytes ad,
                                 MutableBytes memory, std::uint8_t* tag);

  // Opens in place: `memory` is ciphertext and then tag (at least kAeadTagSize
  // bytes). False for a wrong tag; the memory then holds nothing of use.
  [[nodiscard]] bool OpenInPlace(Suite suite, const DirectionKeys& keys, Bytes ad,
                                 MutableBytes memory);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringscale::core::tls
