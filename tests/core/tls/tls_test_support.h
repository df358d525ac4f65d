// A server identity, OpenSSL's own client over memory, and record keys for tests.
#pragma once

#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/bytes.h"
#include "core/tls/handshake.h"
#include "core/tls/key_schedule.h"
#include "core/tls/record_keys.h"
#include "core/tls/transport.h"

namespace ringscale::core::tls::test {

inline constexpr Suite kAllSuites[] = {Suite::kAes128GcmSha256, Suite::kAes256GcmSha384,
                                       Suite::kChacha20Poly1305Sha256};
const char* SuiteName(Suite suite);  // OpenSSL's

// PEM of a certificate for "relay.example" and 127.0.0.1, made once per process.
struct Identity {
  std::string ca;
  std::string chain;
  std::string key;
  std::shared_ptr<const ServerContext> context;
};
const Identity& TestIdentity();

// Keys of both ends of one connection.
struct Ends {
  std::unique_ptr<RecordKeys> server = std::make_unique<RecordKeys>();
  std::unique_ptr<RecordKeys> client = std::make_unique<RecordKeys>();
};
Ends MakeEnds(Suite suite);

std::string Text(Bytes bytes);
std::vector<std::uint8_t> Raw(std::string_view text);

// OpenSSL's client, independent of core/tls.
class OpenSslClient {
 public:
  explicit OpenSslClient(const std::function<void(SSL_CTX*)>& configure = nullptr,
                         const std::function<void(SSL*)>& prepare = nullptr);
  OpenSslClient(const OpenSslClient&) = delete;
  OpenSslClient& operator=(const OpenSslClient&) = delete;
  ~OpenSslClient();

  // Runs the handshake as far as the bytes carry; true when it is done.
  bool Handshake(std::string_view from_server);
  [[nodiscard]] SSL* ssl() const { return ssl_; }
  std::string TakeOutput();
  void Write(std::string_view plaintext);
  // Everything that can be read after feeding the bytes.
  std::string Read(std::string_view from_server);
  // SSL_get_error of the last Read.
  [[nodiscard]] int last_error() const { return last_error_; }

 private:
  SSL_CTX* context_;
  SSL* ssl_;
  int last_error_ = 0;
};

// A server transport and a client that have finished their handshake.
struct Connected {
  std::unique_ptr<OpenSslClient> client;
  Transport transport;
  std::string server_name;
  bool tls13 = false;
};
// `early` is sent by the client in the flight of its Finished.
Connected Connect(std::unique_ptr<OpenSslClient> client, std::string_view early = {});

}  // namespace ringscale::core::tls::test
