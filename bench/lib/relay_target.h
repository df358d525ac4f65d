// The relay under load: where it is and how clients log in to it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "core/net/address.h"
#include "core/tls/client.h"

namespace ringscale::bench {

struct RelayTarget {
  std::string name;  // for tables and plots
  bool tls = false;
  std::string host;         // Host header
  std::string server_name;  // SNI: the host unless told otherwise
  core::SocketAddress address;
  std::optional<std::uint16_t> stun_port;  // where a DERP map names it
  std::optional<pid_t> pid;                // the server, when it runs on this machine
};

// "derp://HOST:PORT" (plain) or "derps://HOST:PORT" (TLS; port 443 may be left
// out). HOST is a name or a literal address; names are looked up, which may block.
core::Result<RelayTarget> ParseRelayUrl(const std::string& url);

// The address of a name or literal, which may block.
core::Result<core::SocketAddress> Resolve(const std::string& host, std::uint16_t port);

// What the clients of the bench say in their ClientHello: one cipher suite, so
// that figures of two relays compare. Certificates are not checked.
core::Result<std::shared_ptr<const core::tls::ClientContext>> MakeBenchTlsContext(
    const std::string& cipher_suites);

}  // namespace ringscale::bench
