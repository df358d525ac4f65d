// The server side of a TLS handshake, over memory: bytes in, bytes out. Runs on
// front threads. Afterwards the traffic secrets are taken over and the OpenSSL
// object is freed (TLS 1.3); TLS 1.2 sessions keep it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/tls/transport.h"

namespace ringscale::core::tls {

// Certificates, keys and protocol settings of a listener; immutable once made,
// shared by all handshakes that began with it. A reload makes a new one.
class ServerContext {
 public:
  virtual ~ServerContext() = default;
  // SHA-256 of the leaf's DER, lower-case hex: the pin for `CertName`.
  [[nodiscard]] virtual const std::string& leaf_sha256_hex() const = 0;
  // Validity of the leaf, in seconds since 1970.
  [[nodiscard]] virtual std::int64_t not_before_unix() const = 0;
  [[nodiscard]] virtual std::int64_t not_after_unix() const = 0;
};

class Handshake {
 public:
  virtual ~Handshake() = default;
  enum class Status : std::uint8_t { kNeedMore, kDone };
  // Feeds bytes from the peer. Take the output after every call, also after an
  // error (it holds the alert).
  virtual Result<Status> Feed(Bytes bytes) = 0;
  virtual std::string TakeOutput() = 0;
  // After kDone, once TakeOutput was fully handed to the socket's queue. Leftover
  // bytes (partial or whole records) are inside the transport: call
  // Receive with no bytes first to drain them.
  virtual Result<Transport> Finish() = 0;
  [[nodiscard]] virtual bool is_tls13() const = 0;
  [[nodiscard]] virtual std::string server_name() const = 0;  // SNI, may be empty
};

// `context` comes from certificates.h or MakeServerContext (server_context.h).
Result<std::unique_ptr<Handshake>> StartHandshake(
    const std::shared_ptr<const ServerContext>& context);

}  // namespace ringscale::core::tls
