// What lies between a socket and the bytes of a connection after its TLS
// handshake: nothing (plain), our own TLS 1.3 records, or an OpenSSL session
// (TLS 1.2 and oddities: the slow path). Sans-IO. A Transport moves with its
// connection between threads; it is used by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/tls/record_keys.h"

namespace ringscale::core::tls {

class AeadPool;    // core/tls/aead.h: cipher contexts of one thread
class SslSession;  // core/tls/ssl_session.h: an OpenSSL object over memory

enum class TlsVersion : std::uint8_t { kNone, kTls12, kTls13 };
inline constexpr std::size_t kTlsVersions = 3;

class Transport {
 public:
  enum class Kind : std::uint8_t { kPlain, kRecords, kSsl };

  static Transport Plain();
  // `partial` = received bytes of a record that is not complete yet.
  static Transport Records(std::unique_ptr<RecordKeys> keys, std::vector<std::uint8_t> partial);
  static Transport Ssl(std::unique_ptr<SslSession> session);

  Transport(Transport&&) noexcept;
  Transport& operator=(Transport&&) noexcept;
  ~Transport();

  [[nodiscard]] Kind kind() const;
  [[nodiscard]] TlsVersion tls_version() const;

  using Sink = std::function<void(MutableBytes plaintext)>;
  // Feeds received bytes (decrypted in place where possible) and calls `sink`
  // for every run of plaintext. kClosed after an orderly end (close_notify),
  // kCorrupt on a bad tag or protocol violation: close the connection then, after
  // sending what TakeControlOutput holds (an alert). The sink must not destroy the
  // transport nor call Receive.
  Result<> Receive(AeadPool& pool, MutableBytes bytes, const Sink& sink);

  // Appends the wire form of the plaintext pieces to `out`, in order.
  Result<> Seal(AeadPool& pool, std::span<const std::string_view> pieces, std::string& out);

  // Bytes that the protocol itself wants sent (KeyUpdate answer, alert).
  [[nodiscard]] std::string TakeControlOutput();
  // close_notify, to be sent before an orderly close. Empty for plain.
  std::string SealClose(AeadPool& pool);

  // For hand-over to the relay, which drives records itself: null unless kind()
  // is kRecords. Send what TakeControlOutput holds first. The transport is closed
  // afterwards.
  std::unique_ptr<RecordKeys> ReleaseKeys(std::vector<std::uint8_t>& partial);

 private:
  struct State;
  explicit Transport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;  // null = plain
};

}  // namespace ringscale::core::tls
