// Documents in the formats of --output.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/ctl/value.h"

namespace ringscale::ctl {

enum class Format : std::uint8_t { kHuman, kJson, kJsonLine, kYaml };

// "" is kHuman. nullopt: not a format.
[[nodiscard]] std::optional<Format> ParseFormat(std::string_view text);

// JSON without white space.
[[nodiscard]] std::string CompactJson(const Value& value);
// kJson: one TAB per level. kYaml: keys in lower case, as headscale's client
// prints its structures. Without a trailing newline. Not for kHuman.
[[nodiscard]] std::string Render(const Value& value, Format format);

}  // namespace ringscale::ctl
