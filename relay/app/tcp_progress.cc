#include "relay/app/tcp_progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "core/base/time.h"

namespace ringscale::relay {

std::uint64_t TcpBytesAcknowledged(void* /*context*/, int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  constexpr std::size_t kEnd = offsetof(tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return errno == EOPNOTSUPP ? static_cast<std::uint64_t>(core::MonotonicNow().ns) : 0;
  }
  if (size < kEnd) return 0;
  return info.tcpi_bytes_acked;
}

}  // namespace ringscale::relay
