// Addresses for nodes, from one prefix of each family.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_set>

#include "control/state/secrets.h"
#include "core/base/result.h"
#include "core/net/address.h"

namespace ringscale::control {

enum class AddressStrategy : std::uint8_t {
  kSequential,  // the next free one after the last issued in this run
  kRandom,      // the first free one from a random start
};

struct AddressHash {
  std::size_t operator()(const core::IpAddress& ip) const;
};

// An address given out is held until Release: so what is being written to the
// store is reserved as what is stored is. Network and broadcast address, the
// ChromeOS range and the service addresses of clients are never given out.
class IpAllocator {
 public:
  IpAllocator(std::optional<core::IpPrefix> v4, std::optional<core::IpPrefix> v6,
              AddressStrategy strategy, RandomSource random);

  // Both of the configured families, invalid for the others. kLimit when a prefix
  // has none left; nothing is held then.
  struct Pair {
    core::IpAddress v4;
    core::IpAddress v6;
  };
  core::Result<Pair> Allocate();
  // An IPv4 address of the first pool that has one left; with none left or no pools
  // given, from the ordinary prefix. Pools may be single addresses.
  core::Result<Pair> Allocate(std::span<const core::IpPrefix> v4_pools);
  core::Result<core::IpAddress> AllocateV4() { return Allocate(v4_); }
  core::Result<core::IpAddress> AllocateV6() { return Allocate(v6_); }
  [[nodiscard]] bool has_v4() const { return v4_.prefix.has_value(); }
  [[nodiscard]] bool has_v6() const { return v6_.prefix.has_value(); }

  // False when it is held already. Invalid addresses are ignored.
  bool Hold(const core::IpAddress& ip);
  void Release(const core::IpAddress& ip) { held_.erase(ip); }
  [[nodiscard]] bool Held(const core::IpAddress& ip) const { return held_.contains(ip); }
  [[nodiscard]] std::size_t size() const { return held_.size(); }

 private:
  struct Pool {
    std::optional<core::IpPrefix> prefix;
    core::IpAddress last;      // issued; the network address at first
    bool may_be_tiny = false;  // one or two addresses, all of which are given out
  };
  core::Result<core::IpAddress> Allocate(Pool& pool);

  Pool v4_;
  Pool v6_;
  AddressStrategy strategy_;
  RandomSource random_;
  std::unordered_set<core::IpAddress, AddressHash> held_;
};

}  // namespace ringscale::control
