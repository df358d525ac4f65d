#include "tools/serverd/front/source_limits.h"

namespace ringscale::serverd {

core::IpPrefix SourceOf(const core::IpAddress& ip) {
  constexpr std::uint8_t kIpv6Bits = 64;
  return ip.is_v6() ? core::IpPrefix{ip, kIpv6Bits}.Masked() : core::IpPrefix::Host(ip);
}

bool SourceLimits::Acquire(const core::IpAddress& ip) {
  const std::lock_guard lock(mutex_);
  const std::uint32_t limit = ip.is_loopback() ? limits_.loopback : limits_.per_source;
  std::uint32_t& count = counts_[SourceOf(ip)];
  if (limit != 0 && count >= limit) return false;
  ++count;
  return true;
}

void SourceLimits::Release(const core::IpAddress& ip) {
  const std::lock_guard lock(mutex_);
  const auto it = counts_.find(SourceOf(ip));
  if (it == counts_.end()) return;
  if (--it->second == 0) counts_.erase(it);
}

void SourceLimits::SetPerSource(std::uint32_t per_source) {
  const std::lock_guard lock(mutex_);
  limits_.per_source = per_source;
}

std::size_t SourceLimits::sources() const {
  const std::lock_guard lock(mutex_);
  return counts_.size();
}

}  // namespace ringscale::serverd
