// The record layer: AES-GCM by OpenSSL and by libipsec-mb, records of a packet and
// of 16 KiB, keys at hand and not; the AEAD record of Noise beside it.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "core/crypto/chacha20poly1305.h"
#include "core/tls/aead.h"
#include "core/tls/key_schedule.h"
#include "core/tls/records.h"

namespace ringscale::bench {
namespace {

using core::Bytes;
using core::MutableBytes;
using core::tls::AeadPool;
using core::tls::RecordKeys;
using core::tls::Suite;

std::unique_ptr<RecordKeys> MakeKeys(Suite suite) {
  auto keys = std::make_unique<RecordKeys>();
  keys->suite = suite;
  const std::vector<std::uint8_t> secret(core::tls::SecretSize(suite), 7);
  if (!InstallTrafficSecret(suite, secret, keys->send) ||
      !InstallTrafficSecret(suite, secret, keys->receive)) {
    std::abort();
  }
  return keys;
}

void Finish(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(bytes));
}

AeadPool PoolOf(const benchmark::State& state) {
  return AeadPool(static_cast<AeadPool::Engine>(state.range(0)));
}

// Arguments: engine, suite, size, connections that take turns.
class Connections {
 public:
  explicit Connections(const benchmark::State& state) {
    const auto suite = static_cast<Suite>(state.range(1));
    for (int i = 0; i < state.range(3); ++i) keys_.push_back(MakeKeys(suite));
  }
  RecordKeys& first() { return *keys_[0]; }
  RecordKeys& Next() {
    RecordKeys& keys = *keys_[turn_];
    turn_ = turn_ + 1 == keys_.size() ? 0 : turn_ + 1;
    return keys;
  }

 private:
  std::vector<std::unique_ptr<RecordKeys>> keys_;
  std::size_t turn_ = 0;
};

void SealRecord(benchmark::State& state) {
  AeadPool pool = PoolOf(state);
  const auto size = static_cast<std::size_t>(state.range(2));
  Connections connections(state);
  const std::vector<std::uint8_t> text(size, 'x');
  std::vector<std::uint8_t> out(size + core::tls::kRecordOverhead + 100);
  const Bytes pieces[] = {text};
  for (auto _ : state) {
    RecordKeys& keys = connections.Next();
    benchmark::DoNotOptimize(SealRecords(keys, pool, pieces, out));
  }
  Finish(state, size);
}

void SealRecordInPlaceOf(benchmark::State& state) {
  AeadPool pool = PoolOf(state);
  const auto size = static_cast<std::size_t>(state.range(2));
  const std::unique_ptr<RecordKeys> keys = MakeKeys(static_cast<Suite>(state.range(1)));
  std::vector<std::uint8_t> record(size + core::tls::kRecordOverhead);
  for (auto _ : state) {
    benchmark::DoNotOptimize(SealRecordInPlace(*keys, pool, record, size));
  }
  Finish(state, size);
}

// A record opened from a fresh copy of the same ciphertext (the copy is included).
void OpenRecord(benchmark::State& state) {
  AeadPool pool = PoolOf(state);
  const auto size = static_cast<std::size_t>(state.range(2));
  Connections connections(state);
  const std::vector<std::uint8_t> text(size, 'x');
  const Bytes pieces[] = {text};
  std::vector<std::uint8_t> sealed(SealedSize(connections.first(), size));
  if (SealRecords(connections.first(), pool, pieces, sealed) != sealed.size()) std::abort();
  std::vector<std::uint8_t> memory(sealed.size());
  for (auto _ : state) {
    RecordKeys& keys = connections.Next();
    keys.receive.sequence = 0;
    std::copy(sealed.begin(), sealed.end(), memory.begin());
    if (core::tls::RecordReader::Next(keys, pool, memory).kind !=
        core::tls::RecordEvent::Kind::kData) {
      state.SkipWithError("record does not open");
      break;
    }
  }
  Finish(state, size);
}

void Engines(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"engine", "suite", "bytes", "connections"});
  for (const std::int64_t suite : {0, 1, 2}) {
    for (const auto engine : {AeadPool::Engine::kOpenSsl, AeadPool::Engine::kIpsecMb}) {
      if (suite == 2 && engine == AeadPool::Engine::kIpsecMb) continue;
      for (const std::int64_t size : {141, 1437, 16384}) {
        bench->Args({static_cast<std::int64_t>(engine), suite, size, 1});
        if (suite == 0 && size == 1437) {
          bench->Args({static_cast<std::int64_t>(engine), suite, size, 1000});
        }
      }
    }
  }
}
BENCHMARK(SealRecord)->Apply(Engines);
BENCHMARK(OpenRecord)->Apply(Engines);
BENCHMARK(SealRecordInPlaceOf)->Apply(Engines);

void NoiseRecord(benchmark::State& state) {
  const auto engine = static_cast<core::chacha20poly1305::Engine>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  core::chacha20poly1305::Key key;
  key.fill(3);
  const std::vector<char> text(size, 'n');
  const std::string_view pieces[] = {std::string_view(text.data(), text.size())};
  std::vector<std::uint8_t> out(size + core::chacha20poly1305::kTagSize);
  std::uint64_t counter = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(core::chacha20poly1305::Seal(
        key, core::chacha20poly1305::CounterNonce(counter++), {}, pieces, out, engine));
  }
  Finish(state, size);
}
BENCHMARK(NoiseRecord)->ArgNames({"engine", "bytes"})->ArgsProduct({{1, 2}, {100, 1437, 4077}});

}  // namespace
}  // namespace ringscale::bench
