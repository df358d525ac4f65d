// How far the peer of a TCP socket has got, and how far away it is.
#pragma once

#include <cstdint>

#include "relay/app/shard_metrics.h"

namespace ringscale::relay {

// Bytes that the peer has acknowledged in all, 0 when the kernel does not say. Grows
// with every call for a socket that is not TCP: its other end is in this process, which
// looks after the client itself. Fits ShardOptions::bytes_acknowledged; `context` is not
// used.
std::uint64_t TcpBytesAcknowledged(void* context, int fd);

// Its smoothed round-trip time.
RttClass TcpRtt(int fd);

}  // namespace ringscale::relay
