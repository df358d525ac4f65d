// Logins that wait for somebody: bounded in number, age and per source, so that
// strangers cannot push each other's out.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "control/state/ip_allocator.h"
#include "control/state/registry.h"
#include "core/base/keyed_hash.h"
#include "core/base/time.h"
#include "core/net/address.h"

namespace ringscale::control {

struct PendingLimits {
  std::size_t total = 1024;
  std::size_t per_source = 16;
  core::Duration lifetime = core::Seconds(15 * 60);
};

struct PendingLogin {
  std::string id;  // "hskey-authreq-..."
  NodeRegistration request;
  std::string hostname;    // as the client gave it, for people
  core::IpAddress source;  // IPv4 address or IPv6 /64
  core::Instant created;
  bool rejected = false;
  bool finishing = false;    // approved, being written
  std::uint64_t waiter = 0;  // the held request (Registration's ticket), 0 = none
};

class PendingLogins {
 public:
  explicit PendingLogins(const PendingLimits& limits) : limits_(limits) {}
  // Of logins to come; those there are live as long as these say.
  void SetLimits(const PendingLimits& limits) { limits_ = limits; }

  // What had to go to make room: the least recently used of the same source, or
  // of all where that source has none.
  std::optional<PendingLogin> Add(PendingLogin login);
  // Counts as a use. Valid until the next Add, Remove or TakeExpired.
  PendingLogin* Use(std::string_view id);
  [[nodiscard]] const PendingLogin* Find(std::string_view id) const;
  // The newest of this machine and node key.
  PendingLogin* UseByKeys(const core::MachinePublic& machine, const core::NodePublic& node);
  // By the text of a machine or node key: what old command lines ask for.
  [[nodiscard]] const PendingLogin* FindByKeyText(std::string_view text) const;
  std::optional<PendingLogin> Remove(std::string_view id);

  [[nodiscard]] std::optional<core::Instant> NextExpiry() const;
  std::optional<PendingLogin> TakeExpired(core::Instant now);
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }

 private:
  using Order = std::list<PendingLogin>;  // least recently used first

  PendingLogins::Order::iterator OldestOf(const core::IpAddress& source);
  PendingLogin Take(Order::iterator at);

  PendingLimits limits_;
  Order order_;
  std::unordered_map<std::string, Order::iterator, core::KeyedHasher, std::equal_to<>> by_id_;
  std::set<std::pair<core::Instant, std::string>> by_age_;
  std::unordered_map<core::IpAddress, std::size_t, AddressHash> per_source_;
};

// What one stranger counts as: an IPv4 address, the /64 of an IPv6 address.
core::IpAddress SourceOf(const core::IpAddress& ip);

}  // namespace ringscale::control
