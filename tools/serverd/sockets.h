// The sockets that the server listens on: opened here, or given by systemd or by
// the server that ran before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/net/listener.h"
#include "core/net/unix_listener.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

// What a socket is for.
enum class SocketUse : std::uint8_t { kClients, kStun, kMetrics, kCommands, kHttp };
std::string_view TextOf(SocketUse use);
std::optional<SocketUse> SocketUseOf(std::string_view text);

struct SocketLabel {
  SocketUse use = SocketUse::kClients;
  std::string address;     // as the configuration writes it; of kCommands the path
  bool keep_file = false;  // kCommands: its file belongs to systemd
};

// A socket that another process opened.
struct GivenSocket {
  SocketLabel label;
  core::Fd fd;
};

// What systemd's sockets are for: TCP for clients (or metrics, when its unit says
// FileDescriptorName=metrics; or a relay's plain HTTP, with "http"), UDP for STUN, Unix for
// commands.
std::vector<GivenSocket> FromActivation(std::vector<core::net::InheritedSocket> activated);
// Makes the configuration name these sockets where it would name addresses of its
// own: who starts the server by sockets has said there where it listens.
void NameActivated(const std::vector<SocketLabel>& activated, Config& config);

struct ServerSockets {
  struct Listening {
    std::string address;
    core::Fd fd;
  };
  std::vector<Listening> clients;  // TCP: TLS and plain HTTP on each
  std::vector<Listening> stun;
  std::optional<Listening> metrics;
  std::optional<Listening> http;  // a dedicated relay's plain HTTP
  std::optional<core::net::UnixListener> commands;
  bool commands_keep_file = false;  // SocketLabel::keep_file
  std::uint16_t http_port = 0;      // of the first one that is not 443
  bool https_443 = false;
};

// Descriptors of their own for somebody else.
core::Result<std::vector<core::Fd>> CopiesOf(const std::vector<ServerSockets::Listening>& sockets);

// What a process serves: what it opens differs.
enum class ServerRole : std::uint8_t { kServe, kRelay };

// Every socket that the configuration names: a given one where use and address
// are the same, else opened. Given ones that it does not name are closed. Before
// threads start.
core::Result<ServerSockets> OpenServerSockets(const Config& config, std::vector<GivenSocket> given,
                                              ServerRole role = ServerRole::kServe);

}  // namespace ringscale::serverd
