#include "relay/wire/frame_writer.h"

namespace ringscale::relay {

std::size_t WriteServerKey(std::uint8_t* out, const std::array<std::uint8_t, 32>& server_key) {
  WriteHeader(out, FrameType::kServerKey, kMagicBytes + kKeyBytes);
  std::memcpy(out + kHeaderBytes, kServerKeyMagic, kMagicBytes);
  std::memcpy(out + kHeaderBytes + kMagicBytes, server_key.data(), kKeyBytes);
  return kServerKeyFrameBytes;
}

std::size_t WriteKeepAlive(std::uint8_t* out) {
  WriteHeader(out, FrameType::kKeepAlive, 0);
  return kHeaderBytes;
}

std::size_t WritePong(std::uint8_t* out, const std::uint8_t* eight_bytes) {
  WriteHeader(out, FrameType::kPong, kPingBytes);
  std::memcpy(out + kHeaderBytes, eight_bytes, kPingBytes);
  return kPongFrameBytes;
}

std::size_t WritePeerGone(std::uint8_t* out, const core::NodePublic& key, PeerGoneReason reason) {
  WriteHeader(out, FrameType::kPeerGone, kKeyBytes + 1);
  std::memcpy(out + kHeaderBytes, key.raw.data(), kKeyBytes);
  out[kHeaderBytes + kKeyBytes] = static_cast<std::uint8_t>(reason);
  return kPeerGoneFrameBytes;
}

std::size_t WritePeerPresent(std::uint8_t* out, const core::NodePublic& key,
                             const core::SocketAddress& remote, std::uint8_t flags) {
  WriteHeader(out, FrameType::kPeerPresent, kPeerPresentFrameBytes - kHeaderBytes);
  std::uint8_t* at = out + kHeaderBytes;
  std::memcpy(at, key.raw.data(), kKeyBytes);
  at += kKeyBytes;
  std::memset(at, 0, 16);
  if (remote.ip.is_v4()) {
    at[10] = at[11] = 0xff;
    std::memcpy(at + 12, remote.ip.bytes.data(), 4);
  } else if (remote.ip.is_v6()) {
    std::memcpy(at, remote.ip.bytes.data(), 16);
  }
  core::StoreBe16(at + 16, remote.ip.valid() ? remote.port : std::uint16_t{0});
  at[18] = flags;
  return kPeerPresentFrameBytes;
}

std::size_t WriteRestarting(std::uint8_t* out, std::uint32_t reconnect_in_ms,
                            std::uint32_t try_for_ms) {
  WriteHeader(out, FrameType::kRestarting, 8);
  core::StoreBe32(out + kHeaderBytes, reconnect_in_ms);
  core::StoreBe32(out + kHeaderBytes + 4, try_for_ms);
  return kHeaderBytes + 8;
}

}  // namespace ringscale::relay
