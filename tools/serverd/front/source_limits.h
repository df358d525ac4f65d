// How many connections each source has that are not handed over yet. Shared by
// all front threads; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "core/net/address.h"

namespace ringscale::serverd {

// What counts as one source: an IPv4 address, an IPv6 /64.
core::IpPrefix SourceOf(const core::IpAddress& ip);

class SourceLimits {
 public:
  struct Limits {  // 0 = none
    std::uint32_t per_source = 32;
    // Loopback is this machine: benches, command lines, proxies that were not
    // declared as trusted and then stand for all their clients.
    std::uint32_t loopback = 4096;
  };

  explicit SourceLimits(const Limits& limits) : limits_(limits) {}

  // False when the source has its share. Each success is paired with a Release.
  [[nodiscard]] bool Acquire(const core::IpAddress& ip);
  void Release(const core::IpAddress& ip);
  [[nodiscard]] std::size_t sources() const;
  // Limits::per_source, for connections to come.
  void SetPerSource(std::uint32_t per_source);

 private:
  Limits limits_;  // under the mutex
  mutable std::mutex mutex_;
  std::map<core::IpPrefix, std::uint32_t> counts_;  // a tree: strangers choose the keys
};

}  // namespace ringscale::serverd
