// Forwarding allocates nothing: operator new and malloc are counted while packets
// pass through warmed-up shards.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "relay/app/shard_core.h"
#include "relay/app/shard_link.h"
#include "tests/sim/sim_client.h"

namespace {

// One thread counts; the others (none here) do not matter.
thread_local bool counting = false;
thread_local std::uint64_t allocations = 0;

void CountOne() {
  if (counting) ++allocations;
}

}  // namespace

// The C library's allocator under other names. Sanitizers bring an allocator of
// their own, which these would by-pass: there only operator new is counted.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define RINGSCALE_COUNT_MALLOC 1
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) noexcept {
  CountOne();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  CountOne();
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  CountOne();
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  CountOne();
  return __libc_memalign(alignment, size);
}
}
#else
void* operator new(std::size_t size) {
  CountOne();
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

namespace ringscale::relay {
namespace {

constexpr std::uint32_t kBuffers = 64;
constexpr std::uint32_t kBufferSize = 32 * 1024;

// A shard whose ring is this test: it fills buffers and completes sends.
struct Stage {
  Stage(std::uint16_t index, ShardLinks* links)
      : core(Options(index), links, metrics, core::Instant{1}),
        memory(std::size_t{kBuffers} * kBufferSize) {
    for (std::uint16_t i = 0; i < kBuffers; ++i) {
      core.pool().SetReceiveBuffer(i, memory.data() + std::size_t{i} * kBufferSize, kBufferSize);
      free.push_back(i);
    }
    free.reserve(2 * kBuffers);
    out.reserve(1 << 20);
  }
  ~Stage() {
    std::vector<int> open;
    core.Shutdown(open);
  }
  static ShardOptions Options(std::uint16_t index) {
    ShardOptions options;
    options.index = index;
    options.ring.buffer_count = kBuffers;
    options.ring.buffer_size = kBufferSize;
    options.hash_secret = {1, 2};
    return options;
  }

  std::uint32_t Open(const core::NodePublic& key, std::unique_ptr<core::tls::RecordKeys> tls) {
    LoggedInClient client;
    client.key = key;
    client.tls = std::move(tls);
    return core.Open(client, 1);
  }
  void Receive(std::uint32_t slot, core::Bytes bytes) {
    while (!bytes.empty()) {
      const std::size_t size = std::min<std::size_t>(bytes.size(), kBufferSize);
      const std::uint16_t id = free.back();
      free.pop_back();
      Block* block = core.pool().TakeReceiveBuffer(id);
      std::copy_n(bytes.begin(), size, block->data);
      core.OnReceived(core.at(slot), block, size);
      bytes = bytes.subspan(size);
    }
  }
  // The end of a turn; sends complete at once unless they are held.
  void Flush(bool complete = true) {
    for (const std::uint32_t slot : core.TakeDirty()) {
      const SendBatch* batch = core.StartSend(core.at(slot));
      if (batch == nullptr) continue;
      sent += batch->bytes();
      if (complete) core.OnSent(core.at(slot), batch->bytes());
    }
    core.TakeClosing();
    for (const std::uint16_t id : core.pool().free_buffers()) free.push_back(id);
    core.pool().ClearFreeBuffers();
    core.EndTurn();
  }
  void Begin() {
    now = now + core::Micros(50);
    core.BeginTurn(now, 1);
  }

  ShardMetrics metrics;
  ShardCore core;
  std::vector<std::uint8_t> memory;
  std::vector<std::uint16_t> free;
  std::vector<std::uint8_t> out;
  std::uint64_t sent = 0;
  core::Instant now{1};
};

core::NodePublic Key(std::uint8_t fill) {
  core::NodePublic key;
  key.raw.fill(fill);
  return key;
}

// A stretch of what a client sends: packets of several sizes, some of them disco.
std::vector<std::uint8_t> Traffic(const core::NodePublic& to) {
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < 40; ++i) {
    std::vector<std::uint8_t> packet(i % 7 == 0 ? 100 : 1400, static_cast<std::uint8_t>(i));
    if (i % 10 == 0) std::copy_n(kDiscoMagic, sizeof(kDiscoMagic), packet.begin());
    const auto frame = sim::SendPacketFrame(to, packet);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
  }
  return bytes;
}

struct Variant {
  bool tls;
  bool cross;
};

class Allocations : public testing::TestWithParam<Variant> {};

TEST_P(Allocations, NoneWhileForwarding) {
  ShardLinks links(2);
  Stage a(0, &links);
  Stage b(1, &links);
  Stage& receiving = GetParam().cross ? b : a;
  sim::Rng rng(5);
  core::tls::AeadPool client_pool;
  sim::TlsPair from = sim::MakeTlsPair(rng);
  sim::TlsPair to = sim::MakeTlsPair(rng);
  const bool tls = GetParam().tls;
  const std::uint32_t sender = a.Open(Key(1), tls ? std::move(from.server) : nullptr);
  const std::uint32_t receiver = receiving.Open(Key(2), tls ? std::move(to.server) : nullptr);
  ASSERT_NE(sender, ShardCore::kNone);
  ASSERT_NE(receiver, ShardCore::kNone);
  b.Flush();
  a.Begin();  // hears of the receiver

  // What the client sends, sealed in advance: sealing is not what is counted.
  const std::vector<std::uint8_t> plain = Traffic(Key(2));
  constexpr int kRounds = 400;
  constexpr int kWarmUp = 200;
  constexpr int kCuts = 100;  // all of them are seen while warming up
  std::vector<std::vector<std::uint8_t>> rounds(kRounds, plain);
  if (tls) {
    for (auto& round : rounds) {
      std::vector<std::uint8_t> sealed(core::tls::SealedSize(*from.client, plain.size()));
      const core::Bytes pieces[] = {plain};
      ASSERT_EQ(core::tls::SealRecords(*from.client, client_pool, pieces, sealed), sealed.size());
      round = std::move(sealed);
    }
  }
  for (int round = 0; round < kRounds; ++round) {
    counting = round >= kWarmUp;
    a.Begin();
    // Every receive ends in the middle of a frame, and every fourth turn the
    // receiver is still busy, so that packets are copied behind its send.
    const core::Bytes bytes = rounds[static_cast<std::size_t>(round)];
    const bool busy = round % 4 == 3;
    const std::size_t cut = 1 + static_cast<std::size_t>(round % kCuts) * 401;
    a.Receive(sender, bytes.first(cut));
    a.Flush(!busy || GetParam().cross);
    if (GetParam().cross) {
      b.Begin();
      b.Flush(!busy);
    }
    a.Begin();
    a.Receive(sender, bytes.subspan(cut));
    a.Flush();
    if (GetParam().cross) {
      b.Begin();
      b.Flush();
    }
    Connection& c = receiving.core.at(receiver);
    if (c.batch != nullptr) {
      receiving.core.OnSent(c, c.batch->bytes());
      receiving.Flush();
    }
    counting = false;
  }
  EXPECT_EQ(allocations, 0u);
  allocations = 0;
  const ShardMetrics& metrics = receiving.metrics;
  EXPECT_EQ(metrics.packets_sent[0].Value() + metrics.packets_sent[1].Value(), 40u * kRounds);
  EXPECT_EQ(a.metrics.drops.Total() + b.metrics.drops.Total(), 0u);
  EXPECT_GT(a.metrics.frames_copied.Value(), 0u);
  EXPECT_GT(receiving.metrics.bytes_settled.Value(), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, Allocations,
                         testing::Values(Variant{false, false}, Variant{true, false},
                                         Variant{false, true}, Variant{true, true}),
                         [](const auto& test) {
                           return std::string(test.param.tls ? "Tls" : "Plain") +
                                  (test.param.cross ? "AcrossShards" : "OneShard");
                         });

TEST(AllocationCounter, Counts) {
  counting = true;
  auto* memory = new std::vector<int>(100);
  counting = false;
  EXPECT_GT(allocations, 0u);
  allocations = 0;
  delete memory;
}

}  // namespace
}  // namespace ringscale::relay
