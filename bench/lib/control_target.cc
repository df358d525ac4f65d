#include "bench/lib/control_target.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/base/bytes.h"

namespace ringscale::bench {
namespace {

constexpr std::size_t kMaxAnswer = 65536;

// One blocking connection, through TLS where the target has it.
class BlockingClient {
 public:
  explicit BlockingClient(const ControlTarget& target) : target_(target) {}

  core::Result<> Connect() {
    auto fd = OpenSocket(target_.address, SocketMode::kBlocking);
    if (!fd) return core::Forward(fd);
    fd_ = std::move(*fd);
    return target_.tls == nullptr ? core::Result<>{} : StartTls();
  }

  core::Result<> Send(std::string_view text) {
    std::string wire;
    const std::string_view pieces[] = {text};
    if (auto sealed = transport_.Seal(pool_, pieces, wire); !sealed) return sealed;
    return Write(wire);
  }

  // Appends what comes next; false at the end of the stream.
  core::Result<bool> Receive(std::string& text) {
    auto bytes = Read();
    if (!bytes) return core::Forward(bytes);
    if (bytes->empty()) return false;
    const auto opened =
        transport_.Receive(pool_, {reinterpret_cast<std::uint8_t*>(bytes->data()), bytes->size()},
                           [&](core::MutableBytes plaintext) { text += core::AsText(plaintext); });
    if (!opened && opened.error().code == core::ErrorCode::kClosed) return false;
    if (!opened) return std::unexpected(opened.error());
    return true;
  }

 private:
  core::Result<> StartTls() {
    auto handshake = core::tls::StartClientHandshake(target_.tls, target_.server_name);
    if (!handshake) return core::Forward(handshake);
    auto status = (*handshake)->Feed({});
    while (true) {
      if (auto sent = Write((*handshake)->TakeOutput()); !sent) return sent;
      if (!status) return core::Fail(status.error().code, "TLS: " + status.error().message);
      if (*status == core::tls::ClientHandshake::Status::kDone) break;
      auto bytes = Read();
      if (!bytes) return core::Forward(bytes);
      if (bytes->empty()) {
        return core::Fail(core::ErrorCode::kClosed, "the server closed during the TLS handshake");
      }
      status = (*handshake)->Feed(core::AsBytes(*bytes));
    }
    auto transport = (*handshake)->Finish();
    if (!transport) return core::Forward(transport);
    transport_ = std::move(*transport);
    return {};
  }

  core::Result<> Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n =
          TEMP_FAILURE_RETRY(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
      if (n < 0) return core::FailErrno("send to " + target_.address.text(), errno);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  core::Result<std::string> Read() {
    std::string piece(16384, '\0');
    const ssize_t n = TEMP_FAILURE_RETRY(recv(fd_.get(), piece.data(), piece.size(), 0));
    if (n < 0) return core::FailErrno("receive from " + target_.address.text(), errno);
    piece.resize(static_cast<std::size_t>(n));
    return piece;
  }

  const ControlTarget& target_;
  core::Fd fd_;
  core::tls::AeadPool pool_;
  core::tls::Transport transport_ = core::tls::Transport::Plain();
};

core::Result<core::SocketAddress> Resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int status = getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
  if (status != 0) {
    return core::Fail(core::ErrorCode::kNotFound, host + ": " + gai_strerror(status));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &freeaddrinfo);
  sockaddr_storage native{};
  std::memcpy(&native, list->ai_addr, list->ai_addrlen);
  return core::SocketAddress::FromNative(native);
}

}  // namespace

core::Result<core::Fd> OpenSocket(const core::SocketAddress& address, SocketMode mode) {
  const int family = address.ip.is_v4() ? AF_INET : AF_INET6;
  const bool blocking = mode == SocketMode::kBlocking;
  core::Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0));
  if (!fd.valid()) return core::FailErrno("socket", errno);
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (blocking) {
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, family == AF_INET6);
  if (TEMP_FAILURE_RETRY(connect(fd.get(), reinterpret_cast<const sockaddr*>(&native), length)) !=
          0 &&
      errno != EINPROGRESS) {
    return core::FailErrno("connect to " + address.text(), errno);
  }
  return fd;
}

core::Result<ControlTarget> ParseTarget(std::string_view url, const TargetTrust& trust) {
  const bool https = url.starts_with("https://");
  if (!https && !url.starts_with("http://")) {
    return core::Fail(
        core::ErrorCode::kInvalid,
        fmt::format("--server takes http://HOST:PORT or https://HOST:PORT, not '{}'", url));
  }
  url.remove_prefix(https ? 8 : 7);
  while (url.ends_with('/')) url.remove_suffix(1);
  // HOST:PORT, [IPV6]:PORT, or without a port.
  std::string name(url);
  std::string port = https ? "443" : "80";
  const auto colon = url.rfind(':');
  if (colon != std::string_view::npos && url.find(']', colon) == std::string_view::npos &&
      (url.starts_with('[') || url.find(':') == colon)) {
    name = url.substr(0, colon);
    port = url.substr(colon + 1);
  }
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (name.empty() || error != std::errc() || end != port.data() + port.size()) {
    return core::Fail(core::ErrorCode::kInvalid,
                      fmt::format("--server: '{}' is not HOST:PORT", url));
  }
  auto address = Resolve(name, port);
  if (!address) return core::Forward(address);
  ControlTarget target;
  target.address = *address;
  target.host = url;
  target.server_name = name;
  if (!https) return target;
  core::tls::ClientSettings settings;
  if (trust.insecure) {
    settings.verify = core::tls::ClientSettings::Verify::kNone;
  } else if (!trust.ca_file.empty()) {
    settings.verify = core::tls::ClientSettings::Verify::kCaFile;
    settings.ca_file = trust.ca_file;
  }
  auto context = core::tls::MakeClientContext(settings);
  if (!context) return core::Forward(context);
  target.tls = std::move(*context);
  target.pool = std::make_shared<core::tls::AeadPool>();
  return target;
}

core::Result<std::string> FetchPage(const ControlTarget& target, std::string_view path,
                                    std::size_t limit) {
  BlockingClient client(target);
  if (auto connected = client.Connect(); !connected) return core::Forward(connected);
  if (auto sent = client.Send(fmt::format(
          "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", path, target.host));
      !sent) {
    return core::Forward(sent);
  }
  std::string answer;
  while (answer.size() < limit) {
    auto more = client.Receive(answer);
    if (!more) return core::Forward(more);
    if (!*more) break;
  }
  return answer;
}

core::Result<core::MachinePublic> FetchServerKey(const ControlTarget& target) {
  const auto page =
      FetchPage(target, fmt::format("/key?v={}", target.capability_version), kMaxAnswer);
  if (!page) return std::unexpected(page.error());
  const std::string& answer = *page;
  constexpr std::string_view kMember = "\"publicKey\":\"";
  constexpr std::size_t kKeyText = std::string_view("mkey:").size() + 64;
  const auto at = answer.find(kMember);
  if (at != std::string::npos) {
    const auto key =
        core::MachinePublic::Parse(std::string_view(answer).substr(at + kMember.size(), kKeyText));
    if (key) return *key;
  }
  return core::Fail(core::ErrorCode::kInvalid,
                    target.host + "/key did not answer as a control server does: " +
                        answer.substr(0, std::min(answer.find('\r'), std::size_t{100})));
}

}  // namespace ringscale::bench
