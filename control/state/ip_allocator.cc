#include "control/state/ip_allocator.h"

#include <algorithm>
#include <utility>

#include "core/base/keyed_hash.h"

namespace ringscale::control {
namespace {

__extension__ using Number = unsigned __int128;

Number ToNumber(const core::IpAddress& ip) {
  Number n = 0;
  for (int i = 0; i < ip.bits() / 8; ++i) n = n << 8 | ip.bytes[static_cast<std::size_t>(i)];
  return n;
}

core::IpAddress ToAddress(Number n, core::IpAddress::Family family) {
  core::IpAddress ip;
  ip.family = family;
  for (int i = ip.bits() / 8 - 1; i >= 0; --i) {
    ip.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(n);
    n >>= 8;
  }
  return ip;
}

// Inclusive ranges nobody gets, beside the first and last of the prefix.
struct Range {
  Number first;
  Number last;
};
Range Parse(const char* first, const char* last) {
  return {ToNumber(*core::IpAddress::Parse(first)), ToNumber(*core::IpAddress::Parse(last))};
}
const Range* ReservedRange(Number n, bool v4) {
  // ChromeOS gives this one to its virtual machines (tsaddr.ChromeOSVMRange); the
  // other two are the client's own service addresses (tsaddr.TailscaleServiceIP).
  static const Range chrome_os = Parse("100.115.92.0", "100.115.93.255");
  static const Range service_v4 = Parse("100.100.100.100", "100.100.100.100");
  static const Range service_v6 = Parse("fd7a:115c:a1e0::53", "fd7a:115c:a1e0::53");
  for (const Range* range : {&chrome_os, &service_v4}) {
    if (v4 && n >= range->first && n <= range->last) return range;
  }
  return !v4 && n == service_v6.first ? &service_v6 : nullptr;
}

}  // namespace

std::size_t AddressHash::operator()(const core::IpAddress& ip) const {
  return static_cast<std::size_t>(
      core::KeyedHash(core::ProcessHashSecret(), core::Bytes(ip.bytes)));
}

IpAllocator::IpAllocator(std::optional<core::IpPrefix> v4, std::optional<core::IpPrefix> v6,
                         AddressStrategy strategy, RandomSource random)
    : strategy_(strategy), random_(std::move(random)) {
  if (v4) v4_ = {.prefix = v4->Masked(), .last = v4->Masked().address};
  if (v6) v6_ = {.prefix = v6->Masked(), .last = v6->Masked().address};
}

core::Result<IpAllocator::Pair> IpAllocator::Allocate() {
  return Allocate(std::span<const core::IpPrefix>());
}

core::Result<IpAllocator::Pair> IpAllocator::Allocate(std::span<const core::IpPrefix> v4_pools) {
  Pair pair;
  for (const auto& prefix : v4_pools) {
    Pool pool{.prefix = prefix.Masked(), .last = prefix.Masked().address, .may_be_tiny = true};
    if (const auto ip = Allocate(pool)) {
      pair.v4 = *ip;
      break;
    }
  }
  if (!pair.v4.valid() && has_v4()) {
    auto ip = AllocateV4();
    if (!ip) return core::Forward(ip);
    pair.v4 = *ip;
  }
  if (has_v6()) {
    auto ip = AllocateV6();
    if (!ip) {
      Release(pair.v4);
      return core::Forward(ip);
    }
    pair.v6 = *ip;
  }
  return pair;
}

bool IpAllocator::Hold(const core::IpAddress& ip) {
  return !ip.valid() || held_.insert(ip).second;
}

core::Result<core::IpAddress> IpAllocator::Allocate(Pool& pool) {
  const core::IpAddress::Family family = pool.prefix->address.family;
  const bool v4 = pool.prefix->address.is_v4();
  const int host_bits = pool.prefix->address.bits() - pool.prefix->length;
  const Number network = ToNumber(pool.prefix->address);
  const Number mask = host_bits == 128 ? ~Number{0} : (Number{1} << host_bits) - 1;
  // Without the network and the broadcast address.
  const bool tiny = mask < 2;
  const Number first = tiny ? network : network + 1;
  const Number last = tiny ? network + mask : network + mask - 1;
  const auto full = [&] {
    return core::Fail(core::ErrorCode::kLimit,
                      "failed to allocate IP: no free address in " + pool.prefix->text());
  };
  if (tiny && !pool.may_be_tiny) return full();

  Number candidate = ToNumber(pool.last) + 1;
  if (strategy_ == AddressStrategy::kRandom) {
    std::array<std::uint8_t, 16> bytes{};
    random_(bytes);
    Number offset = 0;
    for (std::uint8_t byte : bytes) offset = offset << 8 | byte;
    candidate = network + (offset & mask);
  }
  if (candidate < first || candidate > last) candidate = first;

  // At most once around. Every step meets a held address or skips a whole range,
  // so there are at most as many steps as addresses held.
  const Number start = candidate;
  bool wrapped = false;
  while (true) {
    if (const Range* range = ReservedRange(candidate, v4)) {
      candidate = range->last + 1;
    } else if (const auto ip = ToAddress(candidate, family); !held_.contains(ip)) {
      held_.insert(ip);
      pool.last = ip;
      return ip;
    } else {
      ++candidate;
    }
    if (candidate > last) {
      if (wrapped) return full();
      wrapped = true;
      candidate = first;
    }
    if (wrapped && candidate >= start) return full();
  }
}

}  // namespace ringscale::control
