// TOML text as a flat list of keys. The only code that includes toml++.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "tools/serverd/config/value.h"

namespace ringscale::serverd {

struct TomlEntry {
  std::string path;  // "dns.base_domain"; a path that is neither key nor section ends here
  std::uint32_t line = 0;
  Value value;
};

inline constexpr std::size_t kMaxTomlBytes = 1 << 20;

// All keys in the order of the text. Tables are entered as far as they are
// sections of the configuration. Errors: "<name>:<line>: what is wrong".
core::Result<std::vector<TomlEntry>> ReadToml(std::string_view text, std::string_view name);

// One value: `["a", "b"]`.
core::Result<Value> ReadTomlValue(std::string_view text);

}  // namespace ringscale::serverd
