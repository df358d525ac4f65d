// What a control connection costs in Noise: answering a handshake, sealing the
// output of map streams, opening requests.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/noise/session.h"
#include "core/crypto/keys.h"

namespace ringscale::bench {
namespace {

namespace noise = control::noise;

constexpr std::uint16_t kProtocolVersion = 142;

struct Ends {
  noise::Session server;
  noise::Session client;
};

Ends Connect() {
  const core::PrivateKey server_key = core::PrivateKey::Generate();
  noise::Initiator initiator(core::PrivateKey::Generate(),
                             server_key.PublicAs<core::MachinePublic>(), kProtocolVersion);
  auto accepted = noise::Respond(server_key, initiator.initiation());
  if (!accepted) std::abort();
  auto client = initiator.Finish(accepted->response);
  if (!client) std::abort();
  return {std::move(accepted->session), std::move(*client)};
}

// The server's side of one handshake, its ephemeral key included.
void NoiseRespond(benchmark::State& state) {
  const core::PrivateKey server_key = core::PrivateKey::Generate();
  const noise::Initiator initiator(core::PrivateKey::Generate(),
                                   server_key.PublicAs<core::MachinePublic>(), kProtocolVersion);
  for (auto _ : state) {
    auto accepted = noise::Respond(server_key, initiator.initiation());
    if (!accepted) {
      state.SkipWithError("refused");
      break;
    }
    benchmark::DoNotOptimize(accepted->response);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(NoiseRespond)->Unit(benchmark::kMicrosecond);

// Arguments: bytes, in pieces of that size: a change, and shared blocks of a map.
void NoiseSessionSeal(benchmark::State& state) {
  Ends ends = Connect();
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const auto piece_size = static_cast<std::size_t>(state.range(1));
  const std::string text(bytes, 'm');
  std::vector<std::string_view> pieces;
  for (std::size_t at = 0; at < bytes; at += piece_size) {
    pieces.push_back(std::string_view(text).substr(at, piece_size));
  }
  std::string out;
  for (auto _ : state) {
    out.clear();
    if (!ends.server.Seal(pieces, out)) {
      state.SkipWithError("not sealed");
      break;
    }
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(NoiseSessionSeal)->ArgNames({"bytes", "piece"})->Args({120, 120})->Args({131072, 13000});

void NoiseSessionReceive(benchmark::State& state) {
  Ends ends = Connect();
  const std::string request(static_cast<std::size_t>(state.range(0)), 'r');
  const std::string_view pieces[] = {request};
  std::string wire;
  std::string plaintext;
  for (auto _ : state) {
    // Records are numbered: each can be opened once.
    state.PauseTiming();
    wire.clear();
    plaintext.clear();
    if (!ends.client.Seal(pieces, wire)) std::abort();
    state.ResumeTiming();
    if (!ends.server.Receive(core::AsBytes(wire), plaintext)) {
      state.SkipWithError("not opened");
      break;
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(NoiseSessionReceive)->Arg(700)->Arg(16384);

}  // namespace
}  // namespace ringscale::bench
