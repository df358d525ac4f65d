// An OpenSSL session that stays after the handshake: TLS 1.2, and whatever our own
// record layer cannot take over. Costs 16 to 19 kB, so their number is limited.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"

typedef struct ssl_st SSL;  // NOLINT(modernize-use-using): OpenSSL's own declaration

namespace ringscale::core::tls {

// The most sessions of this kind in the process; more are refused (kLimit).
inline constexpr std::uint32_t kDefaultSslSessionLimit = 1024;

class SslSession {
 public:
  // Takes over `ssl`, whose handshake is done and which has memory BIOs. On error
  // the object is freed. Any thread.
  static Result<std::unique_ptr<SslSession>> Adopt(SSL* ssl);
  static void SetLimit(std::uint32_t limit);
  [[nodiscard]] static std::uint32_t Count();

  SslSession(const SslSession&) = delete;
  SslSession& operator=(const SslSession&) = delete;
  ~SslSession();

  [[nodiscard]] bool is_tls13() const;
  using Sink = std::function<void(MutableBytes plaintext)>;
  // kClosed after close_notify, kCorrupt on a violation.
  Result<> Receive(Bytes bytes, const Sink& sink);
  // Appends the sealed pieces to `out`, after anything the protocol wants sent.
  Result<> Seal(std::span<const std::string_view> pieces, std::string& out);
  // Alerts and the like that OpenSSL has written meanwhile.
  std::string TakeControlOutput();
  std::string SealClose();

 private:
  explicit SslSession(SSL* ssl) : ssl_(ssl) {}
  SSL* ssl_;
};

}  // namespace ringscale::core::tls
