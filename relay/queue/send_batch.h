// What one send carries: the iovec array and a hold on the memory it points to.
// A batch lives in a cell from the moment it is built until the send completes.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "relay/queue/block_pool.h"
#include "relay/queue/send_queue.h"

namespace ringscale::relay {

struct BatchLimits {
  std::uint32_t bytes = 1024 * 1024;  // a batch ends with the packet that reaches this
  std::uint32_t pieces = 512;         // iovecs; the kernel takes at most 1024
  // A receiver that takes longer than this for a batch gets smaller ones, down to
  // `least_bytes`: what the kernel has been given can neither be dropped when it is
  // old nor be overtaken by disco.
  std::uint32_t time_ms = 20;
  std::uint32_t least_bytes = 64 * 1024;
};

class SendBatch {
 public:
  // An empty batch with room for `pieces` iovecs, or nullptr without memory.
  static SendBatch* Create(std::uint32_t pieces, BlockPool& pool);
  // Takes packets from the queue, control first, then disco (at most half of the
  // batch while data waits), then data; neighbours in memory become one piece.
  // nullptr when the queue is empty or there is no memory.
  static SendBatch* FromQueue(SendQueue& queue, const BatchLimits& limits, BlockPool& pool);
  // Releases the memory it holds and itself.
  static void Destroy(SendBatch* batch, BlockPool& pool);

  // Adds one piece and takes over one reference to its block. The caller has
  // checked full().
  void Add(std::uint8_t* data, std::uint32_t length, Block* block);
  void CountPacket(Lane lane) {
    if (lane != Lane::kControl) ++packets_[static_cast<std::size_t>(KindOf(lane))];
  }

  // The first `bytes` (not all) have gone out: pieces(), count() and bytes() are the rest.
  void Skip(std::uint32_t bytes);

  [[nodiscard]] const iovec* pieces() const { return Pieces() + skipped_; }
  [[nodiscard]] std::uint32_t count() const { return count_ - skipped_; }
  [[nodiscard]] bool full() const { return count_ == capacity_; }
  [[nodiscard]] std::uint32_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint32_t packets(PacketKind kind) const {
    return packets_[static_cast<std::size_t>(kind)];
  }

 private:
  struct Hold {
    Block* block;
    std::uint32_t references;
  };
  [[nodiscard]] iovec* Pieces() const {
    return reinterpret_cast<iovec*>(const_cast<SendBatch*>(this) + 1);
  }
  [[nodiscard]] Hold* Holds() const { return reinterpret_cast<Hold*>(Pieces() + capacity_); }

  Block* cell_ = nullptr;
  std::uint32_t count_ = 0;
  std::uint32_t skipped_ = 0;  // pieces that have gone out
  std::uint32_t capacity_ = 0;
  std::uint32_t bytes_ = 0;
  std::array<std::uint32_t, kPacketKinds> packets_{};
};

// Which lane the next packet of a batch comes from.
class LaneOrder {
 public:
  explicit LaneOrder(std::uint32_t batch_bytes) : disco_left_(batch_bytes / 2) {}
  // kControl is returned for an empty queue too; check first.
  [[nodiscard]] Lane Next(const SendQueue& queue) const {
    if (queue.packets(Lane::kControl) != 0) return Lane::kControl;
    const bool data = queue.packets(Lane::kData) != 0;
    const bool disco = queue.packets(Lane::kDisco) != 0;
    if (disco && (disco_left_ != 0 || !data)) return Lane::kDisco;
    return data ? Lane::kData : Lane::kControl;
  }
  void Took(Lane lane, std::uint32_t bytes) {
    if (lane == Lane::kDisco) disco_left_ -= bytes < disco_left_ ? bytes : disco_left_;
  }

 private:
  std::uint32_t disco_left_;
};

}  // namespace ringscale::relay
