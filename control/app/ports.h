// What the control plane gets from front threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "control/noise/session.h"
#include "core/base/fd.h"
#include "core/crypto/keys.h"
#include "core/http/websocket.h"
#include "core/net/address.h"
#include "core/tls/transport.h"

namespace ringscale::control {

// A connection whose Noise handshake is done and whose first record has
// authenticated, so the machine key is proven. The descriptor has no operation in flight.
struct NoiseClient {
  core::Fd fd;
  core::SocketAddress remote;  // after trusted proxies
  core::tls::Transport transport = core::tls::Transport::Plain();
  noise::Session session;
  core::MachinePublic machine_key;
  std::uint16_t protocol_version = 0;
  std::string plaintext;  // already opened bytes of the HTTP/2 stream
  std::string host;       // Host header of the upgrade request, for URLs made per client
  bool https = false;     // scheme that the client used (X-Forwarded-Proto of trusted proxies)
  // WebSocket framing between transport and Noise, as far as it was read; null: none.
  std::unique_ptr<core::http::WebSocket> websocket;
};

}  // namespace ringscale::control
