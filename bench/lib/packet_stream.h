// What the bench puts into packets, and how a receiver tells that it got exactly
// that: a sequence number, the time of sending, and a filling that depends on
// both the stream and the sequence number.
#pragma once

#include <cstdint>

#include "core/base/bytes.h"
#include "core/base/time.h"

namespace ringscale::bench {

// Stream, sequence number, time. A packet has at least this many bytes.
inline constexpr std::size_t kPacketHead = 4 + 8 + 8;
inline constexpr std::size_t kLargestPacket = 65536;

// Fills `packet` (kPacketHead to kLargestPacket bytes).
void WritePacket(core::MutableBytes packet, std::uint32_t stream, std::uint64_t sequence,
                 core::Instant sent);

// One receiver's judgement of one stream.
class StreamCheck {
 public:
  explicit StreamCheck(std::uint32_t stream) : stream_(stream) {}

  struct Seen {
    bool good = false;  // ours, whole and later than all before
    std::uint64_t sequence = 0;
    core::Instant sent;
  };
  Seen Check(core::Bytes packet);

  [[nodiscard]] std::uint64_t received() const { return received_; }  // good ones
  [[nodiscard]] std::uint64_t missing() const { return next_ - received_; }
  [[nodiscard]] std::uint64_t corrupt() const { return corrupt_; }      // wrong content
  [[nodiscard]] std::uint64_t misplaced() const { return misplaced_; }  // repeated or too late

 private:
  std::uint32_t stream_;
  std::uint64_t next_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t corrupt_ = 0;
  std::uint64_t misplaced_ = 0;
};

}  // namespace ringscale::bench
