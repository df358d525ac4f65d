// Right bytes with changes that an input describes.
#pragma once

#include <cstddef>
#include <string>

#include "core/base/bytes.h"

namespace ringscale::fuzz {

// A change takes four bytes of `script`: position (two), kind, value. Kind 0xff ends
// the list for these bytes; what follows is for the next.
inline std::string Changed(std::string bytes, core::Bytes& script) {
  while (script.size() >= 4 && script[2] != 0xff && !bytes.empty()) {
    const std::size_t at = static_cast<std::size_t>(script[0] << 8 | script[1]) % bytes.size();
    const char value = static_cast<char>(script[3]);
    switch (script[2] % 4) {
      case 0:
        bytes[at] = value;
        break;
      case 1:
        bytes.erase(at, script[3]);
        break;
      case 2:
        bytes.insert(at, script[3], value);
        break;
      default:
        bytes += bytes.substr(at, script[3]);
        break;
    }
    script = script.subspan(4);
  }
  if (script.size() >= 4) script = script.subspan(4);
  return bytes;
}

}  // namespace ringscale::fuzz
