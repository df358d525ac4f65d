#include "core/net/udp_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cassert>
#include <cstring>
#include <utility>

#include "core/net/bind_socket.h"

namespace ringscale::core::net {
namespace {

static_assert(CMSG_SPACE(sizeof(in6_pktinfo)) <= kPacketInfoSpace);
static_assert(CMSG_SPACE(sizeof(in_pktinfo)) <= kPacketInfoSpace);

IpAddress FromV6(const in6_addr& raw) {
  sockaddr_storage native{};
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = raw;
  std::memcpy(&native, &v6, sizeof v6);
  return SocketAddress::FromNative(native).ip;
}

in6_addr ToV6(const IpAddress& ip) {
  sockaddr_storage native{};
  SocketAddress{ip, 0}.ToNative(native, true);
  sockaddr_in6 v6{};
  std::memcpy(&v6, &native, sizeof v6);
  return v6.sin6_addr;
}

bool IsLinkLocal(const IpAddress& ip) {
  return ip.is_v6() && ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80;
}

template <class Data>
std::size_t WriteMessage(MutableBytes control, int level, int type, const Data& data) {
  msghdr message{};
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(sizeof data);
  std::memset(control.data(), 0, message.msg_controllen);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof data);
  std::memcpy(CMSG_DATA(header), &data, sizeof data);
  return message.msg_controllen;
}

}  // namespace

bool IsV6Socket(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_INET6;
}

bool HasPacketInfo(int fd) {
  const PacketInfoOption option = PacketInfoOptionOf(IsV6Socket(fd));
  int enabled = 0;
  socklen_t length = sizeof enabled;
  return getsockopt(fd, option.level, option.name, &enabled, &length) == 0 && enabled != 0;
}

Result<UdpSocket> OpenUdpSocket(const ListenAddress& address) {
  auto fd = BindSocket(address, SOCK_DGRAM);
  if (!fd) return Forward(fd);
  const bool v6_socket = IsV6Socket(fd->get());
  auto enabled = EnablePacketInfo(fd->get(), v6_socket);
  if (!enabled) return Forward(enabled);
  return UdpSocket{std::move(*fd), v6_socket};
}

std::optional<PacketInfo> ReadPacketInfo(MutableBytes control) {
  msghdr message{};
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO &&
        header->cmsg_len >= CMSG_LEN(sizeof(in6_pktinfo))) {
      in6_pktinfo raw{};
      std::memcpy(&raw, CMSG_DATA(header), sizeof raw);
      return PacketInfo{FromV6(raw.ipi6_addr), raw.ipi6_ifindex};
    }
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO &&
        header->cmsg_len >= CMSG_LEN(sizeof(in_pktinfo))) {
      in_pktinfo raw{};
      std::memcpy(&raw, CMSG_DATA(header), sizeof raw);
      return PacketInfo{IpAddress::V4(ntohl(raw.ipi_addr.s_addr)),
                        static_cast<std::uint32_t>(raw.ipi_ifindex)};
    }
  }
  return std::nullopt;
}

std::size_t WritePacketInfo(const PacketInfo& info, bool v6_socket, MutableBytes control) {
  assert(control.size() >= kPacketInfoSpace);
  if (!info.local.valid()) return 0;
  const std::uint32_t interface_index = IsLinkLocal(info.local) ? info.interface_index : 0;
  if (v6_socket) {
    in6_pktinfo raw{};
    raw.ipi6_addr = ToV6(info.local);
    raw.ipi6_ifindex = interface_index;
    return WriteMessage(control, IPPROTO_IPV6, IPV6_PKTINFO, raw);
  }
  if (!info.local.is_v4()) return 0;
  in_pktinfo raw{};
  raw.ipi_spec_dst.s_addr = htonl(LoadBe32(info.local.bytes.data()));
  return WriteMessage(control, IPPROTO_IP, IP_PKTINFO, raw);
}

}  // namespace ringscale::core::net
