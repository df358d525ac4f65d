#include "core/io/buffer_memory.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <string>
#include <utility>

namespace ringscale::core::io {
namespace {

constexpr std::uint32_t kMaxBuffers = 32768;  // of one io_uring buffer group
constexpr std::size_t kHugePage = 2 * 1024 * 1024;

}  // namespace

Result<BufferMemory> BufferMemory::Create(std::uint32_t count, std::uint32_t size) {
  if (!std::has_single_bit(count) || count > kMaxBuffers || size == 0) {
    return Fail(ErrorCode::kInvalid,
                "buffer count must be a power of two up to 32768, not " + std::to_string(count));
  }
  const std::size_t bytes = static_cast<std::size_t>(count) * size;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return FailErrno("mapping receive buffers", errno);
  // Key material passes through here: keep it out of core dumps.
  madvise(memory, bytes, MADV_DONTDUMP);
  if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
  return BufferMemory(static_cast<std::uint8_t*>(memory), count, size);
}

BufferMemory::BufferMemory(BufferMemory&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      size_(other.size_),
      free_(other.free_),
      held_(std::move(other.held_)) {}

BufferMemory::~BufferMemory() {
  if (memory_ != nullptr) munmap(memory_, static_cast<std::size_t>(count()) * size_);
}

}  // namespace ringscale::core::io
