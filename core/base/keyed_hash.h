// A hash with a secret of this process, for tables whose keys strangers choose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::core {

struct HashSecret {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};

// Drawn from the system's random source at first use; one per process. The
// simulation passes secrets of its own.
const HashSecret& ProcessHashSecret();

// SipHash-1-3. Enough to keep a stranger from choosing collisions, about 15 ns
// for a 32-byte key.
std::uint64_t KeyedHash(const HashSecret& secret, Bytes bytes);

// Hash function object for unordered containers of public keys and of strings.
struct KeyedHasher {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return static_cast<std::size_t>(KeyedHash(ProcessHashSecret(), AsBytes(text)));
  }
  template <class Key>
    requires requires(const Key& key) { key.raw.data(); }
  std::size_t operator()(const Key& key) const {
    return static_cast<std::size_t>(KeyedHash(ProcessHashSecret(), Bytes(key.raw)));
  }
};

}  // namespace ringscale::core
