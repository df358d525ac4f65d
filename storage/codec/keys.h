// Keys of the tables. Big-endian, so that the store's byte order is the numbers'.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::storage {

inline std::string IdKey(std::uint64_t id) {
  std::string key(8, '\0');
  core::StoreBe64(reinterpret_cast<std::uint8_t*>(key.data()), id);
  return key;
}

// nullopt unless `key` is exactly eight bytes.
inline std::optional<std::uint64_t> ParseIdKey(std::string_view key) {
  if (key.size() != 8) return std::nullopt;
  return core::LoadBe64(core::AsBytes(key).data());
}

}  // namespace ringscale::storage
