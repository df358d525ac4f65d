#include "relay/app/tcp_progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
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

RttClass TcpRtt(int fd) {
  constexpr std::array<std::uint32_t, 7> kUpToUs = {10'000,  20'000,  50'000, 100'000,
                                                    150'000, 250'000, 500'000};
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return errno == EOPNOTSUPP ? RttClass::kNotTcp : RttClass::kError;
  }
  return static_cast<RttClass>(std::ranges::lower_bound(kUpToUs, info.tcpi_rtt) - kUpToUs.begin());
}

}  // namespace ringscale::relay
