#include "core/net/descriptor_passing.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace ringscale::core::net {
namespace {

constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(int) * kMaxPassedDescriptors);

void TakeDescriptors(msghdr& message, std::vector<Fd>& descriptors) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
}

}  // namespace

Result<> SendWithDescriptors(int socket, std::string_view bytes, std::span<const int> descriptors) {
  if (descriptors.size() > kMaxPassedDescriptors) {
    return Fail(ErrorCode::kLimit, "more than " + std::to_string(kMaxPassedDescriptors) +
                                       " descriptors in one message");
  }
  alignas(cmsghdr) char control[kControlBytes] = {};
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return FailErrno("passing descriptors", errno);
  if (static_cast<std::size_t>(sent) != bytes.size()) {
    return Fail(ErrorCode::kIo, "passing descriptors: the message was cut short");
  }
  return {};
}

Result<std::string> ReceiveWithDescriptors(int socket, std::size_t limit,
                                           std::vector<Fd>& descriptors) {
  alignas(cmsghdr) char control[kControlBytes] = {};
  std::string bytes(limit, '\0');
  iovec piece{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received = 0;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return Fail(ErrorCode::kTimeout, "no answer on the local socket");
  }
  if (received < 0) return FailErrno("receiving descriptors", errno);
  TakeDescriptors(message, descriptors);
  bytes.resize(static_cast<std::size_t>(received));
  return bytes;
}

}  // namespace ringscale::core::net
