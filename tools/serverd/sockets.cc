#include "tools/serverd/sockets.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/net/udp_socket.h"
#include "core/obs/log.h"

namespace ringscale::serverd {
namespace {

using core::LogInfo;
using core::net::ListenAddress;
using core::net::ParseListenAddress;

constexpr std::pair<SocketUse, std::string_view> kUses[] = {{SocketUse::kClients, "clients"},
                                                            {SocketUse::kStun, "stun"},
                                                            {SocketUse::kMetrics, "metrics"},
                                                            {SocketUse::kCommands, "commands"},
                                                            {SocketUse::kHttp, "http"}};

// The kernel takes the sockets of a process that was killed apart in the background
// when io_uring was using them: for a moment its addresses stay taken.
template <class Open>
auto OpenPatiently(Open open) {
  constexpr int kTries = 60;
  constexpr int kPauseMillis = 50;
  auto opened = open();
  for (int i = 0; i < kTries && !opened && opened.error().code == core::ErrorCode::kConflict; ++i) {
    poll(nullptr, 0, kPauseMillis);
    opened = open();
  }
  return opened;
}

// "[::]:8080" and "0.0.0.0:8080" of a socket are what a configuration calls ":8080".
std::string AddressText(core::SocketAddress local) {
  if (core::net::IsWildcard(local.ip)) local.ip = {};
  return ListenAddress{local}.text();
}

std::optional<GivenSocket> Take(std::vector<GivenSocket>& given, SocketUse use,
                                std::string_view address) {
  const auto wanted = ParseListenAddress(address);
  const auto found = std::ranges::find_if(given, [&](const GivenSocket& socket) {
    if (socket.label.use != use || !socket.fd.valid()) return false;
    if (socket.label.address == address) return true;
    const auto has = ParseListenAddress(socket.label.address);
    return wanted && has && *wanted == *has;
  });
  if (found == given.end()) return std::nullopt;
  return std::move(*found);
}

core::Result<core::Fd> OpenAs(SocketUse use, const ListenAddress& address) {
  if (use != SocketUse::kStun) return core::net::OpenTcpListener(address);
  auto socket = core::net::OpenUdpSocket(address);
  if (!socket) return core::Forward(socket);
  return std::move(socket->fd);
}

// `key` is what `config` calls it.
core::Result<ServerSockets::Listening> TakeOrOpen(const Config& config,
                                                  std::vector<GivenSocket>& given, SocketUse use,
                                                  const std::string& text, std::string_view key,
                                                  bool patient = true) {
  const auto address = config.Blame({key}, ParseListenAddress(text));
  if (!address) return std::unexpected(address.error());
  if (auto taken = Take(given, use, text)) {
    return ServerSockets::Listening{.address = text, .fd = std::move(taken->fd)};
  }
  auto fd = patient ? OpenPatiently([&] { return OpenAs(use, *address); }) : OpenAs(use, *address);
  if (!fd) return std::unexpected(config.Blame({key}, std::move(fd.error())));
  return ServerSockets::Listening{.address = text, .fd = std::move(*fd)};
}

core::Result<> OpenForClients(const Config& config, std::vector<GivenSocket>& given,
                              ServerSockets& sockets) {
  std::vector<std::string> wanted = config.listen;
  if (config.listen_auto) wanted.emplace_back(":443");
  for (const auto& text : wanted) {
    // 443 was our own idea: clients of private addresses do without it.
    const bool optional = config.listen_auto && text == ":443";
    auto listening = TakeOrOpen(config, given, SocketUse::kClients, text, "listen", !optional);
    if (!listening) {
      if (optional) {
        LogInfo("serve", "not listening on 443", {{"reason", listening.error().message}});
        continue;
      }
      return core::Forward(listening);
    }
    const std::uint16_t port = ParseListenAddress(text)->address.port;
    if (port == 443) {
      sockets.https_443 = true;
    } else if (sockets.http_port == 0) {
      sockets.http_port = port;
    }
    LogInfo("serve", "listening", {{"address", text}});
    sockets.clients.push_back(std::move(*listening));
  }
  return {};
}

core::Result<> OpenForCommands(const Config& config, std::vector<GivenSocket>& given,
                               ServerSockets& sockets) {
  const std::string path = config.SocketPath();
  if (auto taken = Take(given, SocketUse::kCommands, path)) {
    sockets.commands_keep_file = taken->label.keep_file;
    auto adopted = core::net::UnixListener::Adopt(std::move(taken->fd), path);
    if (!adopted) return core::Forward(adopted);
    if (taken->label.keep_file) adopted->KeepFile();
    sockets.commands.emplace(std::move(*adopted));
    return {};
  }
  core::net::UnixListenerOptions options;
  if (config.unix_socket.group_access) {
    options.group = getgid();
    if (!config.unix_socket.group.empty()) {
      const group* entry = getgrnam(config.unix_socket.group.c_str());
      if (entry == nullptr) {
        return std::unexpected(config.Blame(
            {"unix_socket.group"},
            {core::ErrorCode::kNotFound,
             "expected the name of a group, found '" + config.unix_socket.group + "'"}));
      }
      options.group = entry->gr_gid;
    }
  }
  auto opened =
      config.Blame({"unix_socket.path", "data_dir"},
                   OpenPatiently([&] { return core::net::UnixListener::Open(path, options); }));
  if (!opened) return core::Forward(opened);
  sockets.commands.emplace(std::move(*opened));
  return {};
}

}  // namespace

std::string_view TextOf(SocketUse use) {
  return std::ranges::find(kUses, use, &std::pair<SocketUse, std::string_view>::first)->second;
}

std::optional<SocketUse> SocketUseOf(std::string_view text) {
  const auto* const found =
      std::ranges::find(kUses, text, &std::pair<SocketUse, std::string_view>::second);
  if (found == std::end(kUses)) return std::nullopt;
  return found->first;
}

std::vector<GivenSocket> FromActivation(std::vector<core::net::InheritedSocket> activated) {
  using Kind = core::net::InheritedSocket::Kind;
  std::vector<GivenSocket> given;
  for (auto& socket : activated) {
    SocketLabel label;
    switch (socket.kind) {
      case Kind::kTcpListener:
        for (const SocketUse use : {SocketUse::kMetrics, SocketUse::kHttp}) {
          if (socket.name == TextOf(use)) label.use = use;
        }
        label.address = AddressText(socket.local);
        break;
      case Kind::kUdp:
        label.use = SocketUse::kStun;
        label.address = AddressText(socket.local);
        break;
      case Kind::kUnixListener:
        label.use = SocketUse::kCommands;
        label.address = core::net::UnixSocketPath(socket.fd.get());
        label.keep_file = true;
        break;
    }
    given.push_back({.label = std::move(label), .fd = std::move(socket.fd)});
  }
  return given;
}

void NameActivated(const std::vector<SocketLabel>& activated, Config& config) {
  const auto named = [&](SocketUse use) {
    std::vector<std::string> addresses;
    for (const auto& socket : activated) {
      if (socket.use == use) addresses.push_back(socket.address);
    }
    return addresses;
  };
  if (auto clients = named(SocketUse::kClients); !clients.empty()) {
    config.listen = std::move(clients);
    config.listen_auto = false;
  }
  if (auto stun = named(SocketUse::kStun); !stun.empty()) config.derp.stun_listen = std::move(stun);
  if (auto metrics = named(SocketUse::kMetrics); !metrics.empty()) {
    config.metrics.listen = metrics.front();
  }
  if (auto http = named(SocketUse::kHttp); !http.empty()) config.relay.http_listen = http.front();
  if (auto commands = named(SocketUse::kCommands); !commands.empty()) {
    config.unix_socket.path = commands.front();
  }
}

core::Result<ServerSockets> OpenServerSockets(const Config& config, std::vector<GivenSocket> given,
                                              ServerRole role) {
  ServerSockets sockets;
  if (auto opened = OpenForClients(config, given, sockets); !opened) return core::Forward(opened);
  if (config.derp.enabled || role == ServerRole::kRelay) {
    for (const auto& text : config.derp.stun_listen) {
      auto listening = TakeOrOpen(config, given, SocketUse::kStun, text, "derp.stun_listen");
      if (!listening) return core::Forward(listening);
      sockets.stun.push_back(std::move(*listening));
    }
  }
  if (!config.metrics.listen.empty()) {
    auto listening =
        TakeOrOpen(config, given, SocketUse::kMetrics, config.metrics.listen, "metrics.listen");
    if (!listening) return core::Forward(listening);
    sockets.metrics = std::move(*listening);
  }
  if (role == ServerRole::kRelay && !config.relay.http_listen.empty()) {
    auto listening =
        TakeOrOpen(config, given, SocketUse::kHttp, config.relay.http_listen, "relay.http_listen");
    if (!listening) return core::Forward(listening);
    sockets.http = std::move(*listening);
  }
  if (auto opened = OpenForCommands(config, given, sockets); !opened) return core::Forward(opened);
  return sockets;
}

core::Result<std::vector<core::Fd>> CopiesOf(const std::vector<ServerSockets::Listening>& sockets) {
  std::vector<core::Fd> copies;
  for (const auto& socket : sockets) {
    copies.emplace_back(fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copies.back().valid()) return core::FailErrno("dup", errno);
  }
  return copies;
}

}  // namespace ringscale::serverd
