// The relay's hot path without a kernel: cutting frames, finding destinations,
// and the whole way of a packet through a shard.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/tls/key_schedule.h"
#include "core/tls/records.h"
#include "relay/app/shard_core.h"
#include "relay/wire/frame_reader.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::bench {
namespace {

using Buffer = std::vector<std::uint8_t>;

core::NodePublic Key(std::uint32_t n) {
  core::NodePublic key;
  core::StoreBe32(key.raw.data(), n);
  core::StoreBe32(key.raw.data() + 28, n * 2654435761u);
  return key;
}

// SendPacket frames of `payload` bytes each to the keys 1 to `destinations` in turn.
Buffer Frames(std::size_t payload, std::size_t bytes, std::uint32_t destinations) {
  Buffer out;
  for (std::uint32_t i = 0; out.size() + relay::kPacketFrameOverhead + payload <= bytes; ++i) {
    const std::size_t at = out.size();
    out.resize(at + relay::kPacketFrameOverhead + payload);
    relay::WriteHeader(out.data() + at, relay::FrameType::kSendPacket,
                       static_cast<std::uint32_t>(relay::kKeyBytes + payload));
    const core::NodePublic to = Key(1 + i % destinations);
    std::memcpy(out.data() + at + relay::kHeaderBytes, to.raw.data(), to.raw.size());
  }
  return out;
}

void FrameReading(benchmark::State& state) {
  Buffer bytes = Frames(static_cast<std::size_t>(state.range(0)), 32768, 1);
  std::int64_t frames = 0;
  for (auto _ : state) {
    relay::ServerFrameReader reader;
    core::MutableBytes rest(bytes);
    for (;;) {
      const auto step = reader.Next(rest);
      if (step.status != relay::ServerFrameReader::Status::kFrame) break;
      rest = rest.subspan(step.consumed);
      ++frames;
    }
  }
  state.SetItemsProcessed(frames);
}
BENCHMARK(FrameReading)->Arg(100)->Arg(1400);

void DirectoryLookup(benchmark::State& state) {
  relay::PeerTable table(0, {1, 2});
  const auto keys = static_cast<std::uint32_t>(state.range(0));
  for (std::uint32_t i = 0; i < keys; ++i) table.Join(Key(i), i, 1);
  std::uint32_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Find(Key(next)));
    next = (next + 7919) % keys;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(DirectoryLookup)->Arg(100)->Arg(10'000)->Arg(100'000);

void LastDestinationHit(benchmark::State& state) {
  relay::PeerTable table(0, {1, 2});
  for (std::uint32_t i = 0; i < 1000; ++i) table.Join(Key(i), i, 1);
  const core::NodePublic key = Key(500);
  const std::uint32_t index = table.Find(key);
  for (auto _ : state) benchmark::DoNotOptimize(table.Holds(index, key.raw.data()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(LastDestinationHit);

// The keys of both ends.
std::pair<std::unique_ptr<core::tls::RecordKeys>, std::unique_ptr<core::tls::RecordKeys>> Pair(
    std::uint8_t seed) {
  const std::array<std::uint8_t, 32> secret{seed};
  auto server = std::make_unique<core::tls::RecordKeys>();
  auto client = std::make_unique<core::tls::RecordKeys>();
  for (auto* keys : {server.get(), client.get()}) {
    if (!core::tls::InstallTrafficSecret(keys->suite, secret, keys->receive) ||
        !core::tls::InstallTrafficSecret(keys->suite, secret, keys->send)) {
      std::abort();
    }
  }
  return {std::move(server), std::move(client)};
}

// One sender, `destinations` receivers; receives of 32 KiB, sends that complete
// at once: everything but the kernel.
void Forwarding(benchmark::State& state) {
  const auto payload = static_cast<std::size_t>(state.range(0));
  const auto destinations = static_cast<std::uint32_t>(state.range(1));
  const bool tls = state.range(2) != 0;
  constexpr std::uint32_t kBufferSize = 32 * 1024;
  constexpr std::uint16_t kBuffers = 8;

  relay::ShardOptions options;
  options.ring.buffer_count = kBuffers;
  options.ring.buffer_size = kBufferSize;
  relay::ShardMetrics metrics;
  relay::ShardCore shard(options, nullptr, metrics, core::Instant{1});
  Buffer memory(std::size_t{kBuffers} * kBufferSize);
  for (std::uint16_t i = 0; i < kBuffers; ++i) {
    shard.pool().SetReceiveBuffer(i, memory.data() + std::size_t{i} * kBufferSize, kBufferSize);
  }
  const auto open = [&](std::uint32_t n, std::unique_ptr<core::tls::RecordKeys> keys) {
    relay::LoggedInClient client;
    client.key = Key(n);
    client.tls = std::move(keys);
    return shard.Open(client, 1);
  };
  auto [server_keys, client_keys] = Pair(1);
  const std::uint32_t sender = open(0, tls ? std::move(server_keys) : nullptr);
  for (std::uint32_t i = 1; i <= destinations; ++i) {
    open(i, tls ? Pair(static_cast<std::uint8_t>(i)).first : nullptr);
  }

  // With TLS a client seals about what fits into a receive of 32 KiB.
  Buffer frames = Frames(payload, tls ? 16384 : kBufferSize, destinations);
  core::tls::AeadPool client_pool;
  Buffer sealed(frames.size() + 64);
  core::Instant now{1};
  std::int64_t bytes = 0;
  std::int64_t packets = 0;
  for (auto _ : state) {
    core::Bytes arriving = frames;
    if (tls) {
      state.PauseTiming();
      const core::Bytes pieces[] = {frames};
      arriving = core::Bytes(sealed).first(
          core::tls::SealRecords(*client_keys, client_pool, pieces, sealed));
      state.ResumeTiming();
    }
    now = now + core::Micros(50);
    shard.BeginTurn(now, 1);
    relay::Block* block = shard.pool().TakeReceiveBuffer(0);
    std::memcpy(block->data, arriving.data(), arriving.size());  // the kernel's part
    shard.OnReceived(shard.at(sender), block, arriving.size());
    for (const std::uint32_t slot : shard.TakeDirty()) {
      if (const relay::SendBatch* batch = shard.StartSend(shard.at(slot))) {
        shard.OnSent(shard.at(slot), batch->bytes());
      }
    }
    shard.pool().ClearFreeBuffers();
    shard.EndTurn();
    bytes += static_cast<std::int64_t>(frames.size());
    packets += static_cast<std::int64_t>(frames.size() / (relay::kPacketFrameOverhead + payload));
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(packets);
  std::vector<int> descriptors;
  shard.Shutdown(descriptors);
}
BENCHMARK(Forwarding)
    ->ArgNames({"payload", "destinations", "tls"})
    ->ArgsProduct({{100, 1400}, {1, 10}, {0, 1}});

}  // namespace
}  // namespace ringscale::bench
