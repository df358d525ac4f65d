// How far the peer of a TCP socket has got, and how far away it is.
#pragma once

#include <cstdint>

#include "core/base/time.h"
#include "relay/app/shard_metrics.h"

namespace ringscale::relay {

struct TcpProgress {
  // Bytes that the peer has acknowledged in all, 0 when the kernel does not say.
  std::uint64_t acknowledged = 0;
  // It answers, and has no room for what waits.
  bool window_closed = false;
  // Since it answered anything at all.
  core::Duration silent = core::Duration{INT64_MAX};
};

// How often a write timeout a client may take that is there but reads slowly. Its kernel
// tells of room in steps, a sixteenth of the receive buffer or a segment (64 KiB on
// loopback), so the steps of 64 KiB/s are seconds apart; and what it had no room for is
// sent again after pauses that double.
inline constexpr int kSlowReaderTimeouts = 5;

// How many write timeouts it has. `reads_slowly` belongs to the connection: its window
// was seen closed.
inline int TimeoutsOf(const TcpProgress& progress, core::Duration timeout, bool& reads_slowly) {
  reads_slowly |= progress.window_closed;
  return reads_slowly || progress.silent < timeout ? kSlowReaderTimeouts : 1;
}

// `acknowledged` grows with every call for a socket that is not TCP: its other end is in
// this process, which looks after the client itself. Fits ShardOptions::tcp_progress;
// `context` is not used.
TcpProgress ReadTcpProgress(void* context, int fd);

// Its smoothed round-trip time.
RttClass TcpRtt(int fd);

}  // namespace ringscale::relay
