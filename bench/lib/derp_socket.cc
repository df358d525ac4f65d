#include "bench/lib/derp_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <unistd.h>

namespace ringscale::bench {
namespace {

constexpr int kConnectLimitSeconds = 15;

core::Result<> SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = TEMP_FAILURE_RETRY(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL));
    if (sent <= 0) return core::FailErrno("sending to the relay", errno);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

}  // namespace

core::Result<std::unique_ptr<DerpSocket>> DerpSocket::Connect(
    const RelayTarget& target, const std::shared_ptr<const core::tls::ClientContext>& tls,
    SocketScratch& scratch) {
  sockaddr_storage native{};
  const socklen_t length = target.address.ToNative(native, false);
  core::Fd fd(::socket(native.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return core::FailErrno("socket", errno);
  const timeval limit{.tv_sec = kConnectLimitSeconds, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (TEMP_FAILURE_RETRY(::connect(fd.get(), reinterpret_cast<sockaddr*>(&native), length)) != 0) {
    return core::FailErrno("connecting to " + target.address.text(), errno);
  }
  const core::PrivateKey key = core::PrivateKey::Generate();
  DerpLogin login(target, tls, key, scratch.pool);
  std::uint8_t buffer[16384];
  core::MutableBytes bytes;
  for (;;) {
    const auto status = login.Feed(bytes);
    const auto sent = SendAll(fd.get(), login.TakeOutput());
    if (!status) return core::Fail(status.error().code, status.error().message);
    if (!sent) return core::Fail(sent.error().code, sent.error().message);
    if (*status == DerpLogin::Status::kDone) break;
    const ssize_t got = TEMP_FAILURE_RETRY(::recv(fd.get(), buffer, sizeof(buffer), 0));
    if (got < 0) return core::FailErrno("logging in to " + target.address.text(), errno);
    if (got == 0) {
      return core::Fail(core::ErrorCode::kClosed,
                        target.address.text() +
                            " closes the connection during the login (does it admit strangers?)");
    }
    bytes = core::MutableBytes(buffer, static_cast<std::size_t>(got));
  }
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return std::make_unique<DerpSocket>(std::move(fd), key.PublicAs<core::NodePublic>(),
                                      login.Take());
}

DerpSocket::Io DerpSocket::SendNow(const std::uint8_t* bytes, std::size_t size) {
  ssize_t sent = ::send(fd_.get(), bytes, size, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) return Io::kClosed;
    sent = 0;
  }
  const auto done = static_cast<std::size_t>(sent);
  if (done == size) return Io::kOk;
  unsent_.assign(bytes + done, bytes + size);
  return Io::kWouldBlock;
}

DerpSocket::Io DerpSocket::Flush(SocketScratch& scratch) {
  const std::size_t size = std::exchange(scratch.send_size, 0);
  return size == 0 ? Io::kOk : SendNow(scratch.send.data(), size);
}

DerpSocket::Io DerpSocket::Resume() {
  const std::vector<std::uint8_t> bytes = std::exchange(unsent_, {});
  return bytes.empty() ? Io::kOk : SendNow(bytes.data(), bytes.size());
}

bool DerpSocket::OpenRecords(core::tls::AeadPool& pool, core::MutableBytes bytes,
                             std::uint8_t* plain, std::size_t& plain_size) {
  using Kind = core::tls::RecordEvent::Kind;
  while (!bytes.empty()) {
    const auto event = core::tls::RecordReader::Next(*tls_, pool, bytes);
    if (event.kind == Kind::kNeedMore) break;
    if (event.kind == Kind::kClosed || event.kind == Kind::kFatal) return false;
    if (event.kind == Kind::kData) {
      std::memmove(plain + plain_size, event.data.data(), event.data.size());
      plain_size += event.data.size();
    }
    bytes = bytes.subspan(event.consumed);
  }
  cipher_left_.assign(bytes.begin(), bytes.end());
  return true;
}

}  // namespace ringscale::bench
