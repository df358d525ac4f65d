// Noise: initiations, responses and records that are anything.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "control/noise/session.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/fixed_key.h"

using namespace ringscale;  // NOLINT
using fuzz::FixedKey;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const core::PrivateKey server = FixedKey(7);
  static const core::PrivateKey ephemeral = FixedKey(9);
  static const auto server_public = server.PublicAs<core::MachinePublic>();
  FuzzedDataProvider input(data, size);

  // A valid initiation of any version, with some bytes changed.
  control::noise::Initiator initiator(FixedKey(1), server_public,
                                      input.ConsumeIntegral<std::uint16_t>(), FixedKey(2));
  std::array<std::uint8_t, control::noise::kInitiationSize> initiation = initiator.initiation();
  bool changed = false;
  for (int n = input.ConsumeIntegralInRange(0, 3); n > 0; --n) {
    const auto at = input.ConsumeIntegralInRange<std::size_t>(0, initiation.size() - 1);
    const auto flip = input.ConsumeIntegral<std::uint8_t>();
    initiation[at] ^= flip;
  }
  changed = initiation != initiator.initiation();
  auto accepted = control::noise::Respond(server, initiation, ephemeral);
  if (accepted.has_value() == changed) std::abort();
  (void)control::noise::Respond(server, core::AsBytes(input.ConsumeRandomLengthString(128)),
                                ephemeral);
  if (!accepted) return 0;
  (void)initiator.Finish(core::AsBytes(input.ConsumeRandomLengthString(64)));
  auto client = initiator.Finish(accepted->response);
  if (!client) std::abort();

  // Records: what the client sealed arrives whole in any pieces; garbage never.
  std::string expected;
  std::string plain;
  while (input.remaining_bytes() > 0) {
    const std::string text = input.ConsumeRandomLengthString(6000);
    const std::array<std::string_view, 2> pieces{std::string_view(text).substr(0, text.size() / 2),
                                                 std::string_view(text).substr(text.size() / 2)};
    std::string wire;
    if (!client->Seal(pieces, wire)) std::abort();
    const bool damage = input.ConsumeIntegralInRange(0, 15) == 0 && !wire.empty();
    if (damage) {
      const auto at = input.ConsumeIntegralInRange<std::size_t>(0, wire.size() - 1);
      wire[at] = static_cast<char>(wire[at] ^ 0x01);
    } else {
      expected += text;
    }
    const std::size_t step = input.ConsumeIntegralInRange<std::size_t>(1, 5000);
    for (std::size_t at = 0; at < wire.size(); at += step) {
      if (accepted->session.Receive(
              core::AsBytes(wire).subspan(at, std::min(step, wire.size() - at)), plain)) {
        continue;
      }
      if (!damage) std::abort();
      return 0;
    }
    if (damage) return 0;  // a longer length: waits for more
    if (plain != expected) std::abort();
    ringscale::fuzz::Accepted();
  }
  return 0;
}
