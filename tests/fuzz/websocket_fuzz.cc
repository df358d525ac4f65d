// WebSocket framing: whatever the pieces, the same data, answers and end.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/http/websocket.h"
#include "tests/fuzz/accepted.h"

namespace {

using ringscale::core::AsText;
using ringscale::core::Bytes;
using ringscale::core::MutableBytes;
using ringscale::core::http::WebSocket;

std::string Outcome(std::string input, std::size_t step) {
  WebSocket socket(WebSocket::Limits{.message_bytes = 4096, .idle_frames = 16});
  std::string outcome;
  for (std::size_t at = 0; at < input.size(); at += step) {
    const std::size_t n = std::min(step, input.size() - at);
    const auto result = socket.Receive({reinterpret_cast<std::uint8_t*>(input.data()) + at, n},
                                       [&](MutableBytes data) { outcome += AsText(data); });
    if (!result) {
      const std::string answer = socket.TakeOutput();
      if (answer.size() > 2 * 127 + 4) std::abort();
      return outcome + "|" + result.error().message + "|" + answer;
    }
    if (step == input.size()) break;
  }
  return outcome + "|" + socket.TakeOutput();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t step = data[0] % 32 + 1;
  const std::string input(AsText(Bytes(data + 1, size - 1)));
  const std::string outcome = Outcome(input, step);
  if (outcome != Outcome(input, input.size())) std::abort();
  if (!outcome.starts_with('|')) ringscale::fuzz::Accepted();
  return 0;
}
