// DERP maps from URLs (JSON) and files (YAML). What is accepted must survive being
// written for a client and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "control/derp/derp_map.h"
#include "tests/fuzz/accepted.h"

using ringscale::control::DerpMap;
using ringscale::control::DerpSourceMap;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto source = data[0] % 2 == 0 ? ringscale::control::ParseDerpMapJson(text)
                                       : ringscale::control::ParseDerpMapYaml(text);
  if (!source) {
    if (source.error().message.empty()) std::abort();
    return 0;
  }
  DerpMap map;
  ringscale::control::MergeDerpMap(map, *source);
  const std::string json = ringscale::control::RenderDerpMap(map, {.capability = 142});
  const auto again = ringscale::control::ParseDerpMapJson(json, {.bytes = 16U << 20});
  if (!again || again->regions.size() != map.regions.size()) std::abort();
  if (!map.regions.empty()) ringscale::fuzz::Accepted();
  return 0;
}
