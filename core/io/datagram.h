// What ReceiveMessageMultishot leaves in a provided buffer: a header, the
// sender's address, control messages, payload (struct io_uring_recvmsg_out). The
// epoll ring writes the same layout.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "core/base/bytes.h"
#include "core/net/address.h"

namespace ringscale::core::io {

struct DatagramHeader {
  std::uint32_t name_length = 0;
  std::uint32_t control_length = 0;
  std::uint32_t payload_length = 0;  // of the datagram, also when it was cut
  std::uint32_t flags = 0;           // MSG_TRUNC, MSG_CTRUNC
};

// Views into the buffer; valid until it is returned.
struct DatagramView {
  MutableBytes name;     // a sockaddr
  MutableBytes control;  // cmsghdr records, see core/net/udp_socket.h
  MutableBytes payload;
  bool truncated = false;  // the datagram was longer than the buffer

  // `received` = the first `result` bytes of the buffer; `message` = the one the
  // receive was started with (its msg_namelen and msg_controllen fix the layout).
  static std::optional<DatagramView> Parse(MutableBytes received, const msghdr& message) {
    const std::size_t name_at = sizeof(DatagramHeader);
    const std::size_t control_at = name_at + message.msg_namelen;
    const std::size_t payload_at = control_at + message.msg_controllen;
    if (received.size() < payload_at) return std::nullopt;
    DatagramHeader header;
    std::memcpy(&header, received.data(), sizeof header);
    const auto clip = [](std::size_t length, std::size_t limit) {
      return length < limit ? length : limit;
    };
    DatagramView view;
    view.name = received.subspan(name_at, clip(header.name_length, message.msg_namelen));
    view.control =
        received.subspan(control_at, clip(header.control_length, message.msg_controllen));
    view.payload = received.subspan(payload_at);
    view.truncated = (header.flags & MSG_TRUNC) != 0 || header.payload_length > view.payload.size();
    return view;
  }

  [[nodiscard]] SocketAddress Sender() const {
    sockaddr_storage native{};
    std::memcpy(&native, name.data(), name.size() < sizeof native ? name.size() : sizeof native);
    return SocketAddress::FromNative(native);
  }
};

}  // namespace ringscale::core::io
