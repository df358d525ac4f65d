// A shard's memory for packets: the reference counts of the ring's receive
// buffers, and a slab of cells for everything that must outlive its buffer
// (partial frames and records, packets behind a slow receiver, send batches).
//
// The slab grows by units of 256 KiB up to a limit; a unit whose cells are all
// free can serve any size again. In steady state nothing is allocated. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "relay/queue/block.h"

namespace ringscale::relay {

// A foreign block and how many of its lent references come home.
struct LoanReturn {
  Block* block = nullptr;
  std::uint32_t count = 0;
};

class BlockPool {
 public:
  // What an allocation is for. Ordinary ones leave a part of the limit to those
  // that existing connections cannot go on without.
  enum class Need : std::uint8_t { kOrdinary, kEssential };

  static constexpr std::size_t kUnitBytes = 256 * 1024;
  // The largest cell holds any DERP frame.
  static constexpr std::size_t kLargestCell = 69632 - sizeof(Block);

  BlockPool(std::uint16_t home, std::size_t limit_bytes);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  // --- receive buffers ---
  // Before the first receive. `data(id)` of the ring is asked once per buffer.
  void SetReceiveBuffer(std::uint16_t id, std::uint8_t* data, std::uint32_t size);
  // A buffer that the ring has just filled; the caller holds one reference.
  Block* TakeReceiveBuffer(std::uint16_t id);
  [[nodiscard]] std::uint32_t receive_free() const { return receive_free_; }
  [[nodiscard]] std::uint32_t receive_count() const {
    return static_cast<std::uint32_t>(receive_.size());
  }
  // Buffers whose last reference went since the last call; hand them to the ring.
  std::span<const std::uint16_t> free_buffers() const { return free_buffers_; }
  void ClearFreeBuffers() { free_buffers_.clear(); }

  // --- cells ---
  // A cell of at least `bytes` (at most kLargestCell) with one reference and
  // used = 0, or nullptr when the limit is reached.
  Block* AllocateCell(std::size_t bytes, Need need);
  [[nodiscard]] std::size_t cell_bytes() const { return cell_bytes_; }
  [[nodiscard]] std::size_t reserved_bytes() const { return units_ * kUnitBytes; }
  // Gives units that serve nobody back to the system, all but `keep`.
  void Trim(std::size_t keep);

  // --- references ---
  // Blocks of this shard only.
  void AddReference(Block* block, std::uint32_t count = 1) { block->refs += count; }
  // Any block: one of another shard is noted for its way home.
  void Release(Block* block, std::uint32_t count = 1) {
    // The block returned last is looked at first: its home is then known without
    // touching memory that the other shard is writing to.
    if (!returns_.empty() && returns_.back().block == block) {
      returns_.back().count += count;
      return;
    }
    if (block->home != home_) {
      returns_.push_back({block, count});
      return;
    }
    block->refs -= count;
    if (block->refs == 0) Free(block);
  }
  // Foreign blocks to be sent home.
  std::span<const LoanReturn> returns() const { return returns_; }
  void ClearReturns() { returns_.clear(); }
  [[nodiscard]] std::uint16_t home() const { return home_; }

  // Live references of both kinds, for tests: zero when everything came back.
  [[nodiscard]] std::uint64_t cells_in_use() const { return cells_in_use_; }

 private:
  static constexpr std::array<std::uint32_t, 9> kCellSizes = {256,  512,   1024,  2048, 4096,
                                                              8192, 17408, 34816, 69632};
  struct Unit {
    Unit* next = nullptr;
    Unit* previous = nullptr;
    Block* free_cells = nullptr;
    std::uint32_t fresh = 0;  // cells never handed out yet lie from here on
    std::uint32_t used = 0;
    std::uint32_t capacity = 0;
    std::uint8_t size_class = 0;
    bool listed = false;
  };
  static constexpr std::size_t kUnitHeader = 64;
  static_assert(sizeof(Unit) <= kUnitHeader);

  void Free(Block* block);
  Unit* UnitFor(std::uint8_t size_class, Need need);
  void Link(Unit* unit);
  void Unlink(Unit* unit);
  // From now on it can serve any size.
  void Retire(Unit* unit);
  // The empty unit that some class keeps; an empty one is alone in its list. False
  // when there is none.
  bool RetireSpare();
  static Unit* UnitOf(Block* block);

  std::uint16_t home_;
  std::size_t limit_units_;
  std::size_t ordinary_units_;
  std::size_t units_ = 0;
  std::size_t cell_bytes_ = 0;
  std::uint64_t cells_in_use_ = 0;
  std::array<Unit*, kCellSizes.size()> partial_{};  // units with free cells
  Unit* free_units_ = nullptr;
  std::size_t free_unit_count_ = 0;

  std::vector<Block> receive_;
  std::uint32_t receive_free_ = 0;
  std::vector<std::uint16_t> free_buffers_;
  std::vector<LoanReturn> returns_;
};

}  // namespace ringscale::relay
