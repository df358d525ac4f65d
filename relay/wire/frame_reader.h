// Cuts a byte stream into DERP frames. Sans-IO: it looks at bytes that the
// caller holds, never copies, never allocates and keeps four bytes of state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/base/bytes.h"
#include "core/crypto/keys.h"
#include "relay/wire/frame.h"

namespace ringscale::relay {

// A whole frame inside the caller's bytes.
struct FrameView {
  FrameType type{};
  core::MutableBytes frame;  // header and payload
  [[nodiscard]] core::MutableBytes payload() const { return frame.subspan(kHeaderBytes); }
};

// The key that begins there.
inline core::NodePublic KeyAt(const std::uint8_t* bytes) {
  core::NodePublic key;
  std::memcpy(key.raw.data(), bytes, key.raw.size());
  return key;
}

// Which payload lengths a side accepts. `known` is false for types that this
// side has no use for: their payload, of whatever length, is skipped.
struct FrameLimits {
  bool known = false;
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};

// What a server takes after login. A second ClientInfo, frames that only
// servers send, Pong and every undefined type are skipped.
struct ServerSide {
  static constexpr FrameLimits Limits(FrameType type) {
    switch (type) {
      case FrameType::kSendPacket:
        return {true, kKeyBytes, kKeyBytes + kMaxPacketBytes};
      case FrameType::kForwardPacket:
        return {true, 2 * kKeyBytes, 2 * kKeyBytes + kMaxPacketBytes};
      case FrameType::kPing:
        return {true, kPingBytes, kMaxPingBytes};
      case FrameType::kNotePreferred:
        return {true, 1, 1};
      case FrameType::kWatchConns:
        return {true, 0, 0};
      case FrameType::kClosePeer:
        return {true, kKeyBytes, kKeyBytes};
      default:
        return {};
    }
  }
};

// What a server takes as the very first frame.
struct LoginSide {
  static constexpr FrameLimits Limits(FrameType type) {
    if (type == FrameType::kClientInfo) return {true, kMinClientInfoBytes, kMaxClientInfoBytes};
    return {true, 1, 0};  // no length is right: any other frame ends the login
  }
};

// What a client takes; used by mesh links, tools and tests.
struct ClientSide {
  static constexpr FrameLimits Limits(FrameType type) {
    switch (type) {
      case FrameType::kServerKey:
      case FrameType::kServerInfo:
      case FrameType::kRecvPacket:
      case FrameType::kKeepAlive:
      case FrameType::kPeerGone:
      case FrameType::kPeerPresent:
      case FrameType::kPing:
      case FrameType::kPong:
      case FrameType::kHealth:
      case FrameType::kRestarting:
        return {true, 0, kMaxInfoBytes};
      default:
        return {};
    }
  }
};

// What a relay takes on its own connection to another relay: who is there.
struct MeshSide {
  static constexpr FrameLimits Limits(FrameType type) {
    switch (type) {
      case FrameType::kPeerGone:
      case FrameType::kPeerPresent:
        return {true, kKeyBytes, kMaxPresenceBytes};
      case FrameType::kPing:
        return {true, kPingBytes, kMaxPingBytes};
      default:
        return {};
    }
  }
};

template <class Side>
class FrameReader {
 public:
  enum class Status : std::uint8_t { kFrame, kNeedMore, kBadLength };
  struct Step {
    Status status = Status::kNeedMore;
    // Bytes of the input that are done with, the returned frame included.
    std::size_t consumed = 0;
    // kNeedMore: how many bytes, counted from input[consumed], the next look
    // needs: a whole header or a whole frame.
    std::size_t needed = 0;
    std::uint32_t skipped_frames = 0;  // frames of unknown type seen on the way
    FrameView frame;                   // kFrame; for kBadLength only the type is set
  };

  // Looks for the next frame in bytes that follow what earlier calls consumed.
  Step Next(core::MutableBytes input) {
    Step step;
    for (;;) {
      if (skip_ != 0) {
        const std::size_t rest = input.size() - step.consumed;
        const std::size_t take = rest < skip_ ? rest : skip_;
        step.consumed += take;
        skip_ -= static_cast<std::uint32_t>(take);
        if (skip_ != 0) {
          step.needed = 1;
          return step;
        }
      }
      const std::size_t rest = input.size() - step.consumed;
      if (rest < kHeaderBytes) {
        step.needed = kHeaderBytes;
        return step;
      }
      std::uint8_t* frame = input.data() + step.consumed;
      const auto type = static_cast<FrameType>(frame[0]);
      const std::uint32_t length = core::LoadBe32(frame + 1);
      const FrameLimits limits = Side::Limits(type);
      if (!limits.known) {
        step.consumed += kHeaderBytes;
        skip_ = length;
        ++step.skipped_frames;
        continue;
      }
      step.frame.type = type;
      if (length < limits.min || length > limits.max) {
        step.status = Status::kBadLength;
        return step;
      }
      if (rest < kHeaderBytes + length) {
        step.needed = kHeaderBytes + length;
        return step;
      }
      step.status = Status::kFrame;
      step.consumed += kHeaderBytes + length;
      step.frame.frame = {frame, kHeaderBytes + length};
      return step;
    }
  }

  // Inside the payload of a frame that is being skipped.
  [[nodiscard]] bool skipping() const { return skip_ != 0; }

 private:
  std::uint32_t skip_ = 0;
};

using ServerFrameReader = FrameReader<ServerSide>;
using LoginFrameReader = FrameReader<LoginSide>;
using ClientFrameReader = FrameReader<ClientSide>;
using MeshFrameReader = FrameReader<MeshSide>;

}  // namespace ringscale::relay
