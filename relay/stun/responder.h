// The subset of STUN (RFC 5389) that Tailscale clients use to learn their public
// address. Sans-IO: a datagram in, a reply or the reason for silence out. A
// request that does not look like a Tailscale client's gets no reply at all, so
// that the port is of no use to anybody else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/base/bytes.h"
#include "core/net/address.h"

namespace ringscale::relay {

// What became of a datagram; the counters use these names.
enum class StunDisposition : std::uint8_t { kSuccess, kNotStun };

inline constexpr std::size_t kMaxStunReplyBytes = 44;

struct StunReply {
  StunDisposition disposition = StunDisposition::kNotStun;
  std::size_t size = 0;  // 32 (IPv4) or 44 (IPv6) after kSuccess
};

// Writes the reply to `request`, which came from `source`, into `out`. IPv4
// addresses are answered as family 1, also when they arrived mapped on a
// dual-stack socket.
StunReply AnswerStun(core::Bytes request, const core::SocketAddress& source,
                     std::array<std::uint8_t, kMaxStunReplyBytes>& out);

// The request that clients send (40 bytes), for probes and tests.
std::array<std::uint8_t, 40> MakeStunRequest(const std::array<std::uint8_t, 12>& transaction);

}  // namespace ringscale::relay
