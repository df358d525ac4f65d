// Fetching memory into the cache ahead of its use, where a loop goes over objects that
// have not been touched for long and would wait for each in turn.
#pragma once

#include <cstddef>

namespace ringscale::core {

// Starts to fetch `size` bytes. Never faults; a hint, without effect on results.
inline void Prefetch(const void* data, std::size_t size) {
  constexpr std::size_t kCacheLine = 64;
  const char* const bytes = static_cast<const char*>(data);
  for (std::size_t i = 0; i < size; i += kCacheLine) __builtin_prefetch(bytes + i);
}

}  // namespace ringscale::core
