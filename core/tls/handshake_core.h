// What the handshakes of both sides share: an SSL object over memory, and the
// traffic secrets as OpenSSL's key log tells them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/tls/openssl_util.h"
#include "core/tls/transport.h"

namespace ringscale::core::tls {

// What a peer may send before its handshake is done, and then before Finish.
inline constexpr std::size_t kMaxHandshakeBytes = 128 * 1024;

// Application traffic secrets; wiped when it goes.
struct TrafficSecrets {
  std::array<std::uint8_t, 48> client{};
  std::array<std::uint8_t, 48> server{};
  std::size_t client_size = 0;
  std::size_t server_size = 0;

  TrafficSecrets() = default;
  TrafficSecrets(const TrafficSecrets&) = delete;
  TrafficSecrets& operator=(const TrafficSecrets&) = delete;
  ~TrafficSecrets();
};

// Makes `context` tell secrets to the HandshakeCore of each SSL object.
void InstallKeyLog(SSL_CTX* context);

class HandshakeCore {
 public:
  // `ssl` belongs to a context that went through InstallKeyLog; its role is set.
  // Null stands for a failed SSL_new.
  HandshakeCore(SslPtr ssl, bool client);
  HandshakeCore(const HandshakeCore&) = delete;
  HandshakeCore& operator=(const HandshakeCore&) = delete;
  ~HandshakeCore();

  // Before anything else; false when there is no memory.
  [[nodiscard]] bool Start();
  // True when the handshake is done.
  Result<bool> Feed(Bytes bytes);
  std::string TakeOutput();
  Result<Transport> Finish();

  [[nodiscard]] bool is_tls13() const;
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }

 private:
  Result<bool> Step();
  Result<Transport> TakeOver();

  SslPtr ssl_;
  bool client_;
  bool done_ = false;
  bool failed_ = false;
  bool tls13_ = false;
  std::size_t fed_ = 0;
  std::string output_;
  TrafficSecrets secrets_;
};

}  // namespace ringscale::core::tls
