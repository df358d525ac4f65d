// Node names: DNS labels made from what clients call themselves, unique in the
// tailnet.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "core/base/keyed_hash.h"
#include "core/base/result.h"

namespace ringscale::control {

inline constexpr std::size_t kMaxLabel = 63;  // RFC 1035 section 2.3.4
inline constexpr std::size_t kMaxFqdn = 255;

// The label a hostname becomes: as clients do it (util/dnsname.SanitizeHostname),
// "node" when nothing is left.
std::string SanitizeHostname(std::string_view hostname);

// `base` with a number, shortened where the label would become too long.
std::string NumberedName(std::string_view base, std::uint64_t number);

// Whether this name was made from this hostname, with or without a number: then
// it follows the client's next hostname. A name given by an operator does not.
bool IsAutomaticName(std::string_view given_name, std::string_view hostname);

// For names given by operators: a label already, and short enough with the domain.
core::Result<> CheckGivenName(std::string_view name, std::string_view base_domain);

// Login names: see Registry::CreateUser.
core::Result<> CheckUserName(std::string_view name);

// Which names are taken, and the first free one.
class NameIndex {
 public:
  [[nodiscard]] bool Taken(std::string_view name) const { return taken_.contains(name); }
  // False when it is taken already.
  bool Add(std::string_view name);
  void Remove(std::string_view name);
  // base, base-1, base-2, ...: the first that is free. Constant time however many
  // nodes share the base, as long as names are not taken out of order.
  [[nodiscard]] std::string FirstFree(const std::string& base);
  [[nodiscard]] std::size_t size() const { return taken_.size(); }

 private:
  std::unordered_set<std::string, core::KeyedHasher, std::equal_to<>> taken_;
  // All numbers of this base below this one are taken. Only where it is above 1.
  std::unordered_map<std::string, std::uint64_t, core::KeyedHasher, std::equal_to<>> next_;
};

}  // namespace ringscale::control
