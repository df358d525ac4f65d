#include "relay/app/tcp_progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace ringscale::relay {

std::uint64_t TcpBytesAcknowledged(void* /*context*/, int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  constexpr std::size_t kEnd = offsetof(tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < kEnd) return 0;
  return info.tcpi_bytes_acked;
}

}  // namespace ringscale::relay
