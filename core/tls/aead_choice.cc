#include "core/tls/aead_choice.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/base/time.h"
#include "core/tls/aead.h"
#include "core/tls/ipsec_gcm.h"
#include "core/tls/key_schedule.h"

namespace ringscale::core::tls {

namespace {

constexpr std::size_t kPacketRecord =
    1437 + 1;  // a full WireGuard packet in DERP and the type byte
constexpr std::size_t kLongest = 4096;

DirectionKeys TestKeys(Suite suite) {
  std::array<std::uint8_t, 48> secret;
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::uint8_t>(i * 7 + 1);
  DirectionKeys keys;
  (void)InstallTrafficSecret(suite, Bytes(secret).first(SecretSize(suite)), keys);
  return keys;
}

constexpr std::array<std::uint8_t, 5> kHeader = {23, 3, 3, 5, 174};

bool Agree(AeadPool& a, AeadPool& b, Suite suite) {
  const DirectionKeys keys = TestKeys(suite);
  std::array<std::uint8_t, kLongest + kAeadTagSize> left;
  std::array<std::uint8_t, kLongest + kAeadTagSize> right;
  for (std::size_t size : {1, 15, 16, 17, 64, 141, 255, 256, 257, 1438, 4096}) {
    for (std::size_t i = 0; i < size; ++i) left[i] = static_cast<std::uint8_t>(i * 31 + size);
    right = left;
    const std::array<std::uint8_t, kLongest + kAeadTagSize> plain = left;
    if (!a.SealInPlace(suite, keys, kHeader, MutableBytes(left).first(size), left.data() + size) ||
        !b.SealInPlace(suite, keys, kHeader, MutableBytes(right).first(size),
                       right.data() + size) ||
        std::memcmp(left.data(), right.data(), size + kAeadTagSize) != 0 ||
        !b.OpenInPlace(suite, keys, kHeader, MutableBytes(left).first(size + kAeadTagSize)) ||
        std::memcmp(left.data(), plain.data(), size) != 0) {
      return false;
    }
  }
  return true;
}

// Nanoseconds for one record sealed and opened again.
double Measure(AeadPool& pool, std::array<std::uint8_t, kLongest>& memory) {
  constexpr int kRecords = 32;
  const Suite suite = Suite::kAes128GcmSha256;
  const DirectionKeys keys = TestKeys(suite);
  const MutableBytes text = MutableBytes(memory).first(kPacketRecord);
  const Instant start = MonotonicNow();
  for (int i = 0; i < kRecords; ++i) {
    (void)pool.SealInPlace(suite, keys, kHeader, text, memory.data() + kPacketRecord);
    (void)pool.OpenInPlace(suite, keys, kHeader,
                           MutableBytes(memory).first(kPacketRecord + kAeadTagSize));
  }
  return static_cast<double>((MonotonicNow() - start).ns) / kRecords;
}

GcmChoice Choose() {
  GcmChoice choice;
  if (IpsecGcm::Get() == nullptr) {
    choice.description = "AES-GCM by OpenSSL (libipsec-mb is not there or not for this CPU)";
    return choice;
  }
  AeadPool openssl(AeadPool::Engine::kOpenSsl);
  AeadPool ipsec(AeadPool::Engine::kIpsecMb);
  choice.ipsec_agrees = Agree(openssl, ipsec, Suite::kAes128GcmSha256) &&
                        Agree(openssl, ipsec, Suite::kAes256GcmSha384);
  if (!choice.ipsec_agrees) {
    choice.description = "AES-GCM by OpenSSL (libipsec-mb failed its self-test)";
    return choice;
  }
  std::array<std::uint8_t, kLongest> memory{};
  double openssl_ns = std::numeric_limits<double>::max();
  double ipsec_ns = openssl_ns;
  for (int round = 0; round < 8; ++round) {  // alternating: both see the same disturbances
    openssl_ns = std::min(openssl_ns, Measure(openssl, memory));
    ipsec_ns = std::min(ipsec_ns, Measure(ipsec, memory));
  }
  choice.use_ipsec = ipsec_ns < openssl_ns;
  const auto text = [](double ns) { return std::to_string(static_cast<int>(ns)) + " ns"; };
  choice.description = std::string("AES-GCM by ") + (choice.use_ipsec ? "libipsec-mb" : "OpenSSL") +
                       " (a 1437-byte record sealed and opened: libipsec-mb " + text(ipsec_ns) +
                       ", OpenSSL " + text(openssl_ns) + ")";
  return choice;
}

}  // namespace

const GcmChoice& ChooseGcm() {
  static const GcmChoice choice = Choose();
  return choice;
}

}  // namespace ringscale::core::tls
