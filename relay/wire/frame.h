// The DERP frame: one type byte, a 32-bit big-endian payload length, the payload.
// Numbers and limits are those of the protocol's version 2.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/bytes.h"

namespace ringscale::relay {

inline constexpr std::uint32_t kProtocolVersion = 2;

// Direction: C = client, S = server, M = client with mesh rights.
enum class FrameType : std::uint8_t {
  kServerKey = 0x01,      // S>C  magic(8) key(32)
  kClientInfo = 0x02,     // C>S  key(32) nonce(24) box
  kServerInfo = 0x03,     // S>C  nonce(24) box
  kSendPacket = 0x04,     // C>S  destination(32) packet
  kRecvPacket = 0x05,     // S>C  source(32) packet
  kKeepAlive = 0x06,      // S>C  empty
  kNotePreferred = 0x07,  // C>S  1 byte, 0 = not home
  kPeerGone = 0x08,       // S>C  key(32) reason(1)
  kPeerPresent = 0x09,    // S>M  key(32) ip(16) port(2) flags(1)
  kForwardPacket = 0x0a,  // M>S  source(32) destination(32) packet
  kWatchConns = 0x10,     // M>S  empty
  kClosePeer = 0x11,      // M>S  key(32)
  kPing = 0x12,           // both 8 bytes and more that is ignored
  kPong = 0x13,           // both 8 bytes
  kHealth = 0x14,         // S>C  text, empty = healthy
  kRestarting = 0x15,     // S>C  reconnect-in ms (4), try-for ms (4)
};

enum class PeerGoneReason : std::uint8_t { kDisconnected = 0x00, kNotHere = 0x01 };

// PeerPresent flags. A server never sends 0: a client that is nothing special
// is kRegular.
inline constexpr std::uint8_t kPresentRegular = 0x01;
inline constexpr std::uint8_t kPresentMeshPeer = 0x02;
inline constexpr std::uint8_t kPresentProber = 0x04;
inline constexpr std::uint8_t kPresentNotIdeal = 0x08;

inline constexpr std::size_t kHeaderBytes = 5;
inline constexpr std::size_t kKeyBytes = 32;
inline constexpr std::size_t kNonceBytes = 24;
inline constexpr std::size_t kBoxTagBytes = 16;
inline constexpr std::size_t kMagicBytes = 8;
inline constexpr std::size_t kMaxPacketBytes = 65536;
inline constexpr std::size_t kMaxInfoBytes = 1 << 20;
inline constexpr std::size_t kMaxClientInfoBytes = 256 * 1024;
inline constexpr std::size_t kMinClientInfoBytes = kKeyBytes + kNonceBytes;
inline constexpr std::size_t kPingBytes = 8;
inline constexpr std::size_t kMaxPingBytes = 1000;
inline constexpr std::size_t kMaxPresenceBytes = 1024;  // of PeerPresent, PeerGone: they may grow

// Whole frames, header included.
inline constexpr std::size_t kServerKeyFrameBytes = kHeaderBytes + kMagicBytes + kKeyBytes;
inline constexpr std::size_t kPongFrameBytes = kHeaderBytes + kPingBytes;
inline constexpr std::size_t kPeerGoneFrameBytes = kHeaderBytes + kKeyBytes + 1;
inline constexpr std::size_t kRestartingFrameBytes = kHeaderBytes + 8;
inline constexpr std::size_t kPeerPresentFrameBytes = kHeaderBytes + kKeyBytes + 16 + 2 + 1;
inline constexpr std::size_t kPacketFrameOverhead = kHeaderBytes + kKeyBytes;
inline constexpr std::size_t kMaxPacketFrameBytes = kPacketFrameOverhead + kMaxPacketBytes;
inline constexpr std::size_t kForwardFrameOverhead = kHeaderBytes + 2 * kKeyBytes;
inline constexpr std::size_t kMaxForwardFrameBytes = kForwardFrameOverhead + kMaxPacketBytes;

// "DERP" and U+1F511 in UTF-8.
inline constexpr std::uint8_t kServerKeyMagic[kMagicBytes] = {0x44, 0x45, 0x52, 0x50,
                                                              0xf0, 0x9f, 0x94, 0x91};

// A packet that looks like path discovery: the disco magic, a 32-byte key and a
// 24-byte nonce, and anything behind them.
inline constexpr std::uint8_t kDiscoMagic[6] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};
inline constexpr std::size_t kMinDiscoBytes = sizeof(kDiscoMagic) + kKeyBytes + kNonceBytes;
[[nodiscard]] bool LooksLikeDisco(core::Bytes packet);

}  // namespace ringscale::relay
