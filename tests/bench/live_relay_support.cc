#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "core/net/udp_socket.h"
#include "relay/wire/frame.h"
#include "tests/bench/live_relay.h"

namespace ringscale::tests {
namespace {

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// A connected pair over loopback TCP.
std::pair<core::Fd, core::Fd> TcpPair() {
  auto listener = core::net::OpenTcpListener({{.ip = *core::IpAddress::Parse("127.0.0.1")}});
  if (!listener) return {};
  sockaddr_storage native{};
  const socklen_t length = core::net::LocalAddress(listener->get()).ToNative(native, false);
  core::Fd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(one.get(), reinterpret_cast<sockaddr*>(&native), length), 0);
  core::Fd other(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  return {std::move(one), std::move(other)};
}

}  // namespace

LiveRelay::LiveRelay() {
  relay::RelayServiceOptions options;
  options.shards = 1;
  options.pin_threads = false;
  options.server_key = key_.PublicAs<core::NodePublic>();
  auto service = relay::RelayService::Start(options, metrics_);
  const core::net::ListenAddress loopback{{.ip = *core::IpAddress::Parse("127.0.0.1")}};
  auto listener = core::net::OpenTcpListener(loopback);
  auto stun = core::net::OpenUdpSocket(loopback);
  if (!service || !listener || !stun) {
    ADD_FAILURE() << "no relay on loopback";
    return;
  }
  service_ = std::move(*service);
  listener_ = std::move(*listener);
  address_ = core::net::LocalAddress(listener_.get());
  stun_port_ = core::net::LocalAddress(stun->fd.get()).port;
  std::vector<core::Fd> sockets;
  sockets.push_back(std::move(stun->fd));
  service_->AttachStun(std::move(sockets));
  thread_ = std::thread([this] { Accept(); });
}

LiveRelay::~LiveRelay() {
  if (listener_.valid()) ::shutdown(listener_.get(), SHUT_RDWR);
  if (thread_.joinable()) thread_.join();
}

bench::RelayTarget LiveRelay::Target(const std::string& name) const {
  bench::RelayTarget target;
  target.name = name;
  target.host = target.server_name = address_.text();
  target.address = address_;
  target.stun_port = stun_port_;
  return target;
}

void LiveRelay::Accept() {
  for (;;) {
    pollfd wait{listener_.get(), POLLIN, 0};
    if (::poll(&wait, 1, -1) < 0) return;
    core::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) return;
    LogIn(std::move(client));
  }
}

void LiveRelay::LogIn(core::Fd client) {
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    char byte = 0;
    if (TEMP_FAILURE_RETRY(::recv(client.get(), &byte, 1, 0)) != 1) return;
    head += byte;
  }
  relay::ServerLogin login(context_, {});
  if (!SendAll(client.get(), login.Start())) return;
  for (;;) {
    std::uint8_t buffer[4096];
    const ssize_t got = TEMP_FAILURE_RETRY(::recv(client.get(), buffer, sizeof(buffer), 0));
    if (got <= 0) return;
    const auto status = login.Feed({buffer, static_cast<std::size_t>(got)});
    if (!status) return;
    if (*status == relay::ServerLogin::Status::kDone) break;
  }
  const std::string server_info = login.TakeOutput();
  relay::LoggedInClient done = login.TakeClient();
  done.server_info.assign(server_info.begin(), server_info.end());
  done.fd = std::move(client);
  service_->Add(std::move(done));
}

void LiveRelay::ForwardTo(LiveRelay& other) {
  auto [near, far] = TcpPair();
  relay::LoggedInClient link;
  link.fd = std::move(near);
  link.key = other.key_.PublicAs<core::NodePublic>();
  link.mesh_link = 0;
  relay::LoggedInClient peer;
  peer.fd = std::move(far);
  peer.key = key_.PublicAs<core::NodePublic>();
  peer.can_mesh = true;
  peer.plaintext = {static_cast<std::uint8_t>(relay::FrameType::kWatchConns), 0, 0, 0, 0};
  other.service_->Add(std::move(peer));
  service_->Add(std::move(link));
}

void LiveRelay::Link(LiveRelay& one, LiveRelay& other) {
  one.ForwardTo(other);
  other.ForwardTo(one);
}

}  // namespace ringscale::tests
