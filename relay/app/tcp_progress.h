// How far the peer of a TCP socket has got.
#pragma once

#include <cstdint>

namespace ringscale::relay {

// Bytes that the peer has acknowledged in all, 0 when the kernel does not say. Grows
// with every call for a socket that is not TCP: its other end is in this process, which
// looks after the client itself. Fits ShardOptions::bytes_acknowledged; `context` is not
// used.
std::uint64_t TcpBytesAcknowledged(void* context, int fd);

}  // namespace ringscale::relay
