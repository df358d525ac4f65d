// Writes DERP frames into memory of the caller. Every function returns the
// number of bytes written; the sizes are the k...FrameBytes of frame.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/base/bytes.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "relay/wire/frame.h"

namespace ringscale::relay {

inline void WriteHeader(std::uint8_t* out, FrameType type, std::uint32_t payload_bytes) {
  out[0] = static_cast<std::uint8_t>(type);
  core::StoreBe32(out + 1, payload_bytes);
}

std::size_t WriteServerKey(std::uint8_t* out, const std::array<std::uint8_t, 32>& server_key);
std::size_t WriteKeepAlive(std::uint8_t* out);
std::size_t WritePong(std::uint8_t* out, const std::uint8_t* eight_bytes);
std::size_t WritePeerGone(std::uint8_t* out, const core::NodePublic& key, PeerGoneReason reason);
// An address that is not valid is written as zeros.
std::size_t WritePeerPresent(std::uint8_t* out, const core::NodePublic& key,
                             const core::SocketAddress& remote, std::uint8_t flags);
std::size_t WriteRestarting(std::uint8_t* out, std::uint32_t reconnect_in_ms,
                            std::uint32_t try_for_ms);

// A ForwardPacket frame of kForwardFrameOverhead + packet.size() bytes.
inline void WriteForwardPacket(std::uint8_t* out, const core::NodePublic& source,
                               const core::NodePublic& destination, core::Bytes packet) {
  WriteHeader(out, FrameType::kForwardPacket,
              static_cast<std::uint32_t>(2 * kKeyBytes + packet.size()));
  std::memcpy(out + kHeaderBytes, source.raw.data(), kKeyBytes);
  std::memcpy(out + kHeaderBytes + kKeyBytes, destination.raw.data(), kKeyBytes);
  if (!packet.empty()) std::memcpy(out + kForwardFrameOverhead, packet.data(), packet.size());
}

// Turns a SendPacket frame into the RecvPacket frame of the same length, in
// place: the destination's key gives way to the source's.
inline void RewriteToRecvPacket(std::uint8_t* frame, const core::NodePublic& source) {
  frame[0] = static_cast<std::uint8_t>(FrameType::kRecvPacket);
  std::memcpy(frame + kHeaderBytes, source.raw.data(), kKeyBytes);
}

// Turns a ForwardPacket frame into the RecvPacket frame that begins kKeyBytes
// further on; returns where. The source key is moved over the destination key.
inline std::uint8_t* RewriteForwardToRecvPacket(std::uint8_t* frame, std::uint32_t payload_bytes) {
  std::memcpy(frame + kHeaderBytes + kKeyBytes, frame + kHeaderBytes, kKeyBytes);
  WriteHeader(frame + kKeyBytes, FrameType::kRecvPacket,
              payload_bytes - static_cast<std::uint32_t>(kKeyBytes));
  return frame + kKeyBytes;
}

}  // namespace ringscale::relay
