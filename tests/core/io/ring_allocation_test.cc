// A ring in use takes no memory from the heap: relay shards count on it.
#include <cstdlib>
#include <new>

#include "tests/core/io/ring_support.h"

// Sanitizers bring their own operator new.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RINGSCALE_SANITIZED 1
#endif
#endif

#ifndef RINGSCALE_SANITIZED

namespace {

thread_local bool counting = false;
thread_local int allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
  if (counting) ++allocations;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace ringscale::core::io {
namespace {

template <class Ring>
class RingAllocations : public RingTest<Ring> {};
TYPED_TEST_SUITE(RingAllocations, Rings);

TYPED_TEST(RingAllocations, NoneWhileBytesFlow) {
  constexpr std::size_t kPairs = 8;
  std::vector<SocketPair> pairs;
  for (std::uint32_t i = 0; i < kPairs; ++i) {
    pairs.push_back(MakePair());
    this->ring().ReceiveMultishot(pairs[i].near.get(), Token(1, i, 1));
  }
  std::string text = "some bytes";
  std::array<iovec, 2> vecs{iovec{text.data(), 4}, iovec{text.data() + 4, 6}};
  std::array<Completion, 64> out;
  int received = 0;
  for (int round = 0; round < 200; ++round) {
    // The first rounds fill the tables that grow with the number of descriptors.
    if (round == 20) counting = true;
    for (std::uint32_t i = 0; i < kPairs; ++i) {
      this->ring().Send(pairs[i].far.get(), vecs.data(), 2, Token(2, i, 1));
    }
    std::size_t missing = 2 * kPairs;
    while (missing > 0) {
      const std::size_t count = this->ring().Turn(out, Seconds(1));
      for (std::size_t i = 0; i < count; ++i) {
        const Completion& done = out[i];
        if (done.has_buffer) {
          ++received;
          this->ring().ReturnBuffer(done.buffer_id);
        }
        if (done.has_buffer || done.token.op() == 2) --missing;
        // Linux 6.1 looks for a buffer once more after the last one was filled.
        if (done.token.op() == 1 && !done.more) {
          this->ring().ReceiveMultishot(pairs[done.token.slot()].near.get(), done.token);
        }
      }
    }
  }
  counting = false;
  EXPECT_EQ(received, 200 * static_cast<int>(kPairs));
  EXPECT_EQ(allocations, 0);
}

}  // namespace
}  // namespace ringscale::core::io

#endif  // RINGSCALE_SANITIZED
