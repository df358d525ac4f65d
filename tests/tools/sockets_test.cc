// The server's sockets: opened, or given by somebody else.
#include "tools/serverd/sockets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/socket_options.h"
#include "core/net/udp_socket.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"

namespace ringscale::serverd {
namespace {

using core::net::InheritedSocket;
using core::net::ListenAddress;

core::net::ListenAddress Loopback() {
  return {{.ip = *core::IpAddress::Parse("127.0.0.1"), .port = 0}};
}

ino_t InodeOf(int fd) {
  struct stat status{};
  EXPECT_EQ(fstat(fd, &status), 0);
  return status.st_ino;
}

// As systemd passes it: one TCP, one UDP and one Unix socket.
struct Activated {
  explicit Activated(const tests::TempFolder& folder) : path(folder / "given.sock") {
    core::Fd tcp = std::move(*core::net::OpenTcpListener(Loopback()));
    core::Fd udp = std::move(core::net::OpenUdpSocket(Loopback())->fd);
    auto unix_listener = core::net::UnixListener::Open(path, {});
    tcp_address = core::net::LocalAddress(tcp.get()).text();
    udp_address = core::net::LocalAddress(udp.get()).text();
    tcp_inode = InodeOf(tcp.get());
    core::Fd commands(fcntl(unix_listener->fd(), F_DUPFD_CLOEXEC, 0));
    unix_listener->KeepFile();
    for (core::Fd* fd : {&tcp, &udp, &commands}) {
      auto adopted = core::net::AdoptSocket(std::move(*fd), "ringscale.socket");
      EXPECT_TRUE(adopted) << adopted.error().message;
      sockets.push_back(std::move(*adopted));
    }
  }
  std::string path;
  std::string tcp_address;
  std::string udp_address;
  ino_t tcp_inode = 0;
  std::vector<InheritedSocket> sockets;
};

std::vector<SocketLabel> LabelsOf(const std::vector<GivenSocket>& given) {
  std::vector<SocketLabel> labels;
  for (const auto& socket : given) labels.push_back(socket.label);
  return labels;
}

Config Quiet(const tests::TempFolder& folder) {
  Config config;
  config.data_dir = folder / "";
  config.metrics.listen = "";
  config.derp.stun_listen = {"127.0.0.1:0"};
  config.listen = {"127.0.0.1:0"};
  config.listen_auto = false;
  return config;
}

TEST(Sockets, ActivatedOnesReplaceTheConfiguredAddresses) {
  const tests::TempFolder folder;
  Activated activated(folder);
  auto given = FromActivation(std::move(activated.sockets));
  Config config;
  config.data_dir = folder / "";
  config.metrics.listen = "";
  NameActivated(LabelsOf(given), config);
  EXPECT_EQ(config.listen, std::vector{activated.tcp_address});
  EXPECT_FALSE(config.listen_auto);
  EXPECT_EQ(config.derp.stun_listen, std::vector{activated.udp_address});
  EXPECT_EQ(config.SocketPath(), activated.path);
  {
    auto sockets = OpenServerSockets(config, std::move(given));
    ASSERT_TRUE(sockets) << sockets.error().message;
    ASSERT_EQ(sockets->clients.size(), 1u);
    EXPECT_EQ(InodeOf(sockets->clients[0].fd.get()), activated.tcp_inode);
    EXPECT_EQ(sockets->stun.size(), 1u);
    EXPECT_NE(sockets->http_port, 0);
    EXPECT_FALSE(sockets->https_443);
    EXPECT_TRUE(sockets->commands_keep_file);
  }
  EXPECT_TRUE(std::filesystem::exists(activated.path)) << "the file is systemd's";
}

TEST(Sockets, AnActivatedOneMayBeForMetrics) {
  auto tcp = core::net::OpenTcpListener(Loopback());
  ASSERT_TRUE(tcp);
  std::vector<InheritedSocket> activated;
  activated.push_back(*core::net::AdoptSocket(std::move(*tcp), "metrics"));
  const auto given = FromActivation(std::move(activated));
  Config config;
  NameActivated(LabelsOf(given), config);
  EXPECT_EQ(config.metrics.listen, given[0].label.address);
  EXPECT_TRUE(config.listen_auto) << "nothing was given for clients";
}

TEST(Sockets, ASocketOnEveryAddressIsWrittenWithoutOne) {
  auto any = core::net::OpenTcpListener({{.ip = {}, .port = 0}});
  ASSERT_TRUE(any);
  const std::uint16_t port = core::net::LocalAddress(any->get()).port;
  std::vector<InheritedSocket> activated;
  activated.push_back(*core::net::AdoptSocket(std::move(*any), ""));
  EXPECT_EQ(FromActivation(std::move(activated))[0].label.address, ":" + std::to_string(port));
}

TEST(Sockets, HandedOverOnesAreMatchedByUseAndAddress) {
  const tests::TempFolder folder;
  const Config config = Quiet(folder);
  auto old_server = OpenServerSockets(config, {});
  ASSERT_TRUE(old_server) << old_server.error().message;
  const ino_t wanted = InodeOf(old_server->clients[0].fd.get());
  auto unused = core::net::OpenTcpListener(Loopback());
  ASSERT_TRUE(unused);
  const auto unused_at = ListenAddress{core::net::LocalAddress(unused->get())};
  const ino_t unused_inode = InodeOf(unused->get());

  std::vector<GivenSocket> given;
  given.push_back(
      {.label = {.use = SocketUse::kMetrics, .address = "127.0.0.1:0"}, .fd = std::move(*unused)});
  given.push_back({.label = {.use = SocketUse::kClients, .address = "127.0.0.1:0"},
                   .fd = std::move(old_server->clients[0].fd)});
  given.push_back({.label = {.use = SocketUse::kCommands, .address = config.SocketPath()},
                   .fd = core::Fd(fcntl(old_server->commands->fd(), F_DUPFD_CLOEXEC, 0))});
  old_server->commands->KeepFile();
  {
    auto sockets = OpenServerSockets(config, std::move(given));
    ASSERT_TRUE(sockets) << sockets.error().message;
    EXPECT_EQ(InodeOf(sockets->clients[0].fd.get()), wanted);
    EXPECT_NE(InodeOf(sockets->clients[0].fd.get()), unused_inode);
    EXPECT_EQ(sockets->stun.size(), 1u) << "opened: none was given";
    EXPECT_FALSE(sockets->metrics);
  }
  EXPECT_FALSE(std::filesystem::exists(config.SocketPath())) << "the file went with its owner";
  EXPECT_TRUE(core::net::OpenTcpListener(unused_at)) << "what nobody names is closed";
}

TEST(Sockets, TheUnitListensWhereTheServerWould) {
  std::ifstream unit(std::string(RINGSCALE_SOURCE_DIR) + "/tools/systemd/ringscale.socket");
  std::vector<std::string> streams;
  std::vector<std::string> datagrams;
  for (std::string line; std::getline(unit, line);) {
    constexpr std::string_view kStream = "ListenStream=";
    constexpr std::string_view kDatagram = "ListenDatagram=";
    if (line.starts_with(kStream)) streams.push_back(":" + line.substr(kStream.size()));
    if (line.starts_with(kDatagram)) datagrams.push_back(":" + line.substr(kDatagram.size()));
  }
  const Config defaults;
  ASSERT_TRUE(defaults.listen_auto);
  std::vector<std::string> wanted = defaults.listen;
  wanted.emplace_back(":443");
  wanted.emplace_back(":/run/ringscale/ringscale.sock");
  EXPECT_EQ(streams, wanted);
  EXPECT_EQ(datagrams, defaults.derp.stun_listen);
}

TEST(Sockets, ErrorsNameTheKey) {
  const tests::TempFolder folder;
  Config config = Quiet(folder);
  config.listen = {"192.0.2.1:80"};  // not of this machine (RFC 5737)
  config.origins.by_key["listen"] = "ringscale.toml:3";
  const auto refused = OpenServerSockets(config, {});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("ringscale.toml:3: listen: "))
      << refused.error().message;
}

}  // namespace
}  // namespace ringscale::serverd
