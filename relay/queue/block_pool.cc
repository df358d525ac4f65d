#include "relay/queue/block_pool.h"

#include <cassert>
#include <cstdlib>
#include <new>

namespace ringscale::relay {

BlockPool::BlockPool(std::uint16_t home, std::size_t limit_bytes)
    : home_(home),
      limit_units_(limit_bytes / kUnitBytes < 4 ? 4 : limit_bytes / kUnitBytes),
      ordinary_units_(limit_units_ - limit_units_ / 8 - 1) {
  returns_.reserve(1024);
}

BlockPool::~BlockPool() {
  // Cells in use at this point die with the shard; their units are reached
  // through no list when full, so the shard releases everything before.
  for (Unit*& list : partial_) {
    while (list != nullptr) {
      Unit* unit = list;
      Unlink(unit);
      std::free(unit);
    }
  }
  while (free_units_ != nullptr) {
    Unit* unit = free_units_;
    free_units_ = unit->next;
    std::free(unit);
  }
}

void BlockPool::SetReceiveBuffer(std::uint16_t id, std::uint8_t* data, std::uint32_t size) {
  if (id >= receive_.size()) {
    receive_free_ += id + 1u - static_cast<std::uint32_t>(receive_.size());
    receive_.resize(id + 1u);
    free_buffers_.reserve(receive_.size());
  }
  Block& block = receive_[id];
  block.data = data;
  block.capacity = size;
  block.home = home_;
  block.buffer_id = id;
  block.kind = BlockKind::kReceive;
}

Block* BlockPool::TakeReceiveBuffer(std::uint16_t id) {
  Block* block = &receive_[id];
  assert(block->refs == 0);
  block->refs = 1;
  --receive_free_;
  return block;
}

BlockPool::Unit* BlockPool::UnitOf(Block* block) {
  const std::size_t offset = reinterpret_cast<std::uintptr_t>(block) & (kUnitBytes - 1);
  return reinterpret_cast<Unit*>(reinterpret_cast<std::uint8_t*>(block) - offset);
}

void BlockPool::Link(Unit* unit) {
  Unit*& list = partial_[unit->size_class];
  unit->previous = nullptr;
  unit->next = list;
  if (list != nullptr) list->previous = unit;
  list = unit;
  unit->listed = true;
}

void BlockPool::Unlink(Unit* unit) {
  if (unit->previous != nullptr) {
    unit->previous->next = unit->next;
  } else {
    partial_[unit->size_class] = unit->next;
  }
  if (unit->next != nullptr) unit->next->previous = unit->previous;
  unit->next = unit->previous = nullptr;
  unit->listed = false;
}

BlockPool::Unit* BlockPool::UnitFor(std::uint8_t size_class, Need need) {
  if (partial_[size_class] != nullptr) return partial_[size_class];
  const std::size_t limit = need == Need::kEssential ? limit_units_ : ordinary_units_;
  while (units_ - free_unit_count_ >= limit) {
    if (!RetireSpare()) return nullptr;
  }
  Unit* unit = free_units_;
  if (unit != nullptr) {
    free_units_ = unit->next;
    --free_unit_count_;
  } else {
    void* memory = std::aligned_alloc(kUnitBytes, kUnitBytes);
    if (memory == nullptr) return nullptr;
    unit = static_cast<Unit*>(memory);
    ++units_;
  }
  new (unit) Unit{};
  unit->size_class = size_class;
  unit->capacity = static_cast<std::uint32_t>((kUnitBytes - kUnitHeader) / kCellSizes[size_class]);
  Link(unit);
  return unit;
}

Block* BlockPool::AllocateCell(std::size_t bytes, Need need) {
  std::uint8_t size_class = 0;
  while (kCellSizes[size_class] - sizeof(Block) < bytes) {
    ++size_class;
    assert(size_class < kCellSizes.size());
  }
  Unit* unit = UnitFor(size_class, need);
  if (unit == nullptr) return nullptr;
  const std::uint32_t size = kCellSizes[size_class];
  Block* block = unit->free_cells;
  if (block != nullptr) {
    unit->free_cells = block->next_free;
  } else {
    auto* memory = reinterpret_cast<std::uint8_t*>(unit) + kUnitHeader +
                   static_cast<std::size_t>(unit->fresh) * size;
    ++unit->fresh;
    block = new (memory) Block{};
    block->data = memory + sizeof(Block);
    block->capacity = size - static_cast<std::uint32_t>(sizeof(Block));
    block->home = home_;
    block->kind = BlockKind::kCell;
    block->size_class = size_class;
  }
  ++unit->used;
  if (unit->used == unit->capacity) Unlink(unit);
  block->refs = 1;
  block->used = 0;
  block->next_free = nullptr;
  cell_bytes_ += size;
  ++cells_in_use_;
  return block;
}

void BlockPool::Free(Block* block) {
  if (block->kind == BlockKind::kReceive) {
    ++receive_free_;
    free_buffers_.push_back(block->buffer_id);
    return;
  }
  Unit* unit = UnitOf(block);
  block->next_free = unit->free_cells;
  unit->free_cells = block;
  --unit->used;
  cell_bytes_ -= kCellSizes[unit->size_class];
  --cells_in_use_;
  if (unit->used == 0) {
    // One unit per class stays, so that a lone cell coming and going costs nothing.
    if (unit->listed && partial_[unit->size_class] == unit && unit->next == nullptr) return;
    Retire(unit);
  } else if (!unit->listed) {
    Unit* spare = partial_[unit->size_class];
    if (spare != nullptr && spare->used == 0) Retire(spare);
    Link(unit);
  }
}

void BlockPool::Retire(Unit* unit) {
  if (unit->listed) Unlink(unit);
  unit->next = free_units_;
  free_units_ = unit;
  ++free_unit_count_;
}

bool BlockPool::RetireSpare() {
  for (Unit* unit : partial_) {
    if (unit == nullptr || unit->used != 0) continue;
    Retire(unit);
    return true;
  }
  return false;
}

void BlockPool::Trim(std::size_t keep) {
  while (free_unit_count_ > keep) {
    Unit* unit = free_units_;
    free_units_ = unit->next;
    --free_unit_count_;
    --units_;
    std::free(unit);
  }
}

}  // namespace ringscale::relay
