#include "core/crypto/chacha20poly1305.h"

#include <algorithm>
#include <climits>
#include <limits>
#include <vector>

#include "core/base/time.h"
#include "core/crypto/chacha_engines.h"
#include "core/crypto/secret_text.h"

namespace ringscale::core::chacha20poly1305 {

namespace {

using internal::IpsecEngine;
using internal::OpenSslEngine;

constexpr std::size_t kFullRecord = 4077;  // of the control protocol

std::vector<std::uint8_t> TestText(std::size_t size) {
  std::vector<std::uint8_t> text(size);
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<std::uint8_t>(i * 31 + size);
  return text;
}

bool EnginesAgree() {
  Key key;
  key.fill(0x29);
  const Nonce nonce = CounterNonce(0x0102030405060708);
  for (const std::size_t size : {0, 1, 16, 63, 64, 65, 127, 300, 1437, 4077}) {
    const std::vector<std::uint8_t> text = TestText(size);
    const std::string_view pieces[] = {AsText(text).substr(0, size / 3),
                                       AsText(text).substr(size / 3)};
    std::vector<std::uint8_t> left(size + kTagSize);
    std::vector<std::uint8_t> right(size + kTagSize);
    std::vector<std::uint8_t> opened(size);
    const bool agree =
        OpenSslEngine::Seal(key, nonce, AsBytes("ad"), pieces, left.data()) &&
        IpsecEngine::Seal(key, nonce, AsBytes("ad"), pieces, right.data()) && left == right &&
        IpsecEngine::Open(key, nonce, AsBytes("ad"), left, opened.data()) && opened == text;
    if (!agree) return false;
  }
  return true;
}

// Nanoseconds for one full record.
template <class SomeEngine>
double Measure(const std::vector<std::uint8_t>& text, std::vector<std::uint8_t>& out) {
  constexpr int kRecords = 16;
  Key key;
  key.fill(0x37);
  const std::string_view pieces[] = {AsText(text)};
  const Instant start = MonotonicNow();
  for (int i = 0; i < kRecords; ++i) {
    (void)SomeEngine::Seal(key, CounterNonce(static_cast<std::uint64_t>(i)), {}, pieces,
                           out.data());
  }
  return static_cast<double>((MonotonicNow() - start).ns) / kRecords;
}

EngineChoice Choose() {
  EngineChoice choice{.engine = Engine::kOpenSsl,
                      .ipsec_agrees = IpsecEngine::Usable() && EnginesAgree(),
                      .description =
                          "ChaCha20-Poly1305 by OpenSSL (libipsec-mb is not there, not "
                          "for this CPU or failed its self-test)"};
  if (!choice.ipsec_agrees) return choice;
  const std::vector<std::uint8_t> text = TestText(kFullRecord);
  std::vector<std::uint8_t> out(kFullRecord + kTagSize);
  double openssl_ns = std::numeric_limits<double>::max();
  double ipsec_ns = openssl_ns;
  for (int round = 0; round < 8; ++round) {  // alternating: both see the same disturbances
    openssl_ns = std::min(openssl_ns, Measure<OpenSslEngine>(text, out));
    ipsec_ns = std::min(ipsec_ns, Measure<IpsecEngine>(text, out));
  }
  if (ipsec_ns < openssl_ns) choice.engine = Engine::kIpsecMb;
  const auto in_ns = [](double ns) { return std::to_string(static_cast<int>(ns)) + " ns"; };
  choice.description = std::string("ChaCha20-Poly1305 by ") +
                       (choice.engine == Engine::kIpsecMb ? "libipsec-mb" : "OpenSSL") +
                       " (a 4077-byte record: libipsec-mb " + in_ns(ipsec_ns) + ", OpenSSL " +
                       in_ns(openssl_ns) + ")";
  return choice;
}

bool UsesIpsec(Engine engine) {
  switch (engine) {
    case Engine::kAuto:
      return ChooseEngine().engine == Engine::kIpsecMb;
    case Engine::kOpenSsl:
      return false;
    case Engine::kIpsecMb:
      return IpsecEngine::Usable();
  }
  return false;
}

}  // namespace

const EngineChoice& ChooseEngine() {
  static const EngineChoice choice = Choose();
  return choice;
}

Nonce CounterNonce(std::uint64_t counter) {
  Nonce nonce{};
  StoreBe64(nonce.data() + 4, counter);
  return nonce;
}

bool Seal(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, MutableBytes out, Engine engine) {
  const std::string_view pieces[] = {AsText(in)};
  return Seal(key, nonce, ad, pieces, out, engine);
}

bool Seal(const Key& key, const Nonce& nonce, Bytes ad, std::span<const std::string_view> pieces,
          MutableBytes out, Engine engine) {
  std::size_t total = 0;
  for (std::string_view piece : pieces) total += piece.size();
  if (total > INT_MAX || out.size() != total + kTagSize) return false;
  return UsesIpsec(engine) ? IpsecEngine::Seal(key, nonce, ad, pieces, out.data())
                           : OpenSslEngine::Seal(key, nonce, ad, pieces, out.data());
}

bool Open(const Key& key, const Nonce& nonce, Bytes ad, Bytes in, MutableBytes out, Engine engine) {
  if (in.size() < kTagSize || in.size() > INT_MAX || out.size() != in.size() - kTagSize) {
    return false;
  }
  const bool ok = UsesIpsec(engine) ? IpsecEngine::Open(key, nonce, ad, in, out.data())
                                    : OpenSslEngine::Open(key, nonce, ad, in, out.data());
  if (!ok) Wipe(out);
  return ok;
}

}  // namespace ringscale::core::chacha20poly1305
