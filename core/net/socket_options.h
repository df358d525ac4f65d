// TCP options. Set on a listening socket, they hold for what it accepts (Linux).
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/net/address.h"

namespace ringscale::core::net {

struct TcpOptions {
  bool no_delay = true;
  // A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT).
  std::optional<Duration> user_timeout;
  // Probes on a silent connection: after `idle`, every `interval`. Whole seconds.
  struct KeepAlive {
    Duration idle = Seconds(30);
    Duration interval = Seconds(10);
    int probes = 3;
  };
  std::optional<KeepAlive> keep_alive;
  // Unsent bytes that the kernel takes before the socket counts as not writable
  // (TCP_NOTSENT_LOWAT): keeps queues with us, where they can be dropped or rebuilt.
  std::optional<std::uint32_t> not_sent_low_water;
};

Result<> ApplyTcpOptions(int fd, const TcpOptions& options);

// Where the socket is bound, and who is at the other end. An unset address when
// there is none (Unix sockets, a connection that is gone).
SocketAddress LocalAddress(int fd);
SocketAddress PeerAddress(int fd);

}  // namespace ringscale::core::net
