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

TcpProgress ReadTcpProgress(void* /*context*/, int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  constexpr std::size_t kEnd =
      offsetof(tcp_info, tcpi_notsent_bytes) + sizeof(info.tcpi_notsent_bytes);
  constexpr std::size_t kWindowEnd = offsetof(tcp_info, tcpi_snd_wnd) + sizeof(info.tcpi_snd_wnd);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    if (errno != EOPNOTSUPP) return {};
    return {.acknowledged = static_cast<std::uint64_t>(core::MonotonicNow().ns)};
  }
  if (size < kEnd) return {};
  // A kernel that has thrown away what did not fit leaves it unacknowledged.
  const bool full = info.tcpi_unacked == 0 || (size >= kWindowEnd && info.tcpi_snd_wnd == 0);
  return {.acknowledged = info.tcpi_bytes_acked,
          .window_closed = full && info.tcpi_notsent_bytes > 0,
          .silent = core::Millis(info.tcpi_last_ack_recv)};
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
