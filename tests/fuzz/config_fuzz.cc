// Any text as ringscale.toml and as the value of an environment variable: a
// configuration or an error with words in it.
#include <cstdlib>
#include <string>

#include "core/base/bytes.h"
#include "tests/fuzz/accepted.h"
#include "tools/serverd/config.h"
#include "tools/serverd/config/keys.h"
#include "tools/serverd/config/load.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ringscale;
  using namespace ringscale::serverd;
  const std::string_view input = core::AsText({data, size});

  if (auto config = ParseConfig(input, "f")) {
    static_cast<void>(config->Warnings());
    // What was accepted can be shown, and read again to the same.
    std::string shown;
    for (const Key& key : Keys()) {
      shown.append(key.path).append(" = ").append(key.show(*config)).append("\n");
    }
    const auto again = ParseConfig(shown, "f");
    if (shown.size() < 4096 && (!again || *again != *config)) std::abort();
    if (!config->origins.by_key.empty()) ringscale::fuzz::Accepted();
  } else if (config.error().message.empty()) {
    std::abort();
  }

  if (size > 0 && input.find('\0') == std::string_view::npos) {
    const Key& key = Keys()[data[0] % Keys().size()];
    ConfigSurroundings surroundings;
    surroundings.environment[EnvironmentName(key.path)] = input.substr(1);
    surroundings.environment["RINGSCALE_" + std::string(input.substr(1, 30))] = "x";
    const auto config = LoadConfigIn({}, surroundings);
    if (!config && config.error().message.empty()) std::abort();
  }
  return 0;
}
