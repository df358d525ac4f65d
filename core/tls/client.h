// The client side of a TLS handshake over memory, for the bench harness, the
// server's probe of itself and tests. Mirrors handshake.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/tls/transport.h"

namespace ringscale::core::tls {

struct ClientSettings {
  enum class Verify : std::uint8_t {
    kNone,       // anything goes
    kSystem,     // the system's trust store, name checked
    kCaFile,     // certificates of `ca_file`, name checked
    kSha256Pin,  // the leaf's DER has SHA-256 `pin`, nothing else counts
  };
  Verify verify = Verify::kSystem;
  std::string ca_file;        // PEM
  std::string pin;            // 64 lower-case hex digits
  std::string cipher_suites;  // of TLS 1.3, OpenSSL's names, preferred first; "" = default
  bool tls12_only = false;
};

// Immutable, shared by handshakes of any thread.
class ClientContext {
 public:
  virtual ~ClientContext() = default;
};
Result<std::shared_ptr<const ClientContext>> MakeClientContext(const ClientSettings& settings);

class ClientHandshake {
 public:
  virtual ~ClientHandshake() = default;
  enum class Status : std::uint8_t { kNeedMore, kDone };
  // Call with no bytes first: that makes the ClientHello. Take the output after
  // every call, also after an error (it holds the alert).
  virtual Result<Status> Feed(Bytes bytes) = 0;
  virtual std::string TakeOutput() = 0;
  // After kDone; as Handshake::Finish.
  virtual Result<Transport> Finish() = 0;
  [[nodiscard]] virtual bool is_tls13() const = 0;
  // SHA-256 of the server's leaf as lower-case hex, once it was received.
  [[nodiscard]] virtual std::string peer_sha256_hex() const = 0;
};

// `server_name` is a DNS name (sent as SNI) or an IP literal (not sent); it is what
// the certificate is checked for.
Result<std::unique_ptr<ClientHandshake>> StartClientHandshake(
    const std::shared_ptr<const ClientContext>& context, const std::string& server_name);

}  // namespace ringscale::core::tls
