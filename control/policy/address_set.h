// Sets of IP addresses as sorted, disjoint ranges: what the aliases of a policy
// resolve to, and what clients are sent.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/net/address.h"

namespace ringscale::control::policy {

// From `first` to `last`, both included and of one family.
struct AddressRange {
  core::IpAddress first;
  core::IpAddress last;

  auto operator<=>(const AddressRange&) const = default;
  [[nodiscard]] bool Contains(const core::IpAddress& ip) const {
    return ip.family == first.family && first <= ip && ip <= last;
  }
  [[nodiscard]] bool Contains(const AddressRange& other) const {
    return Contains(other.first) && Contains(other.last);
  }
  [[nodiscard]] bool Overlaps(const AddressRange& other) const {
    return first.family == other.first.family && first <= other.last && other.first <= last;
  }
  [[nodiscard]] bool single() const { return first == last; }
  // As in tailcfg.FilterRule: an address, a prefix, or "first-last".
  [[nodiscard]] std::string text() const;

  static AddressRange Of(const core::IpPrefix& prefix);
  static AddressRange Of(const core::IpAddress& ip) { return {ip, ip}; }
  // The prefix that is exactly this range, if there is one.
  [[nodiscard]] std::optional<core::IpPrefix> prefix() const;
  // The fewest prefixes that are this range together.
  [[nodiscard]] std::vector<core::IpPrefix> Cover() const;
};

class AddressSet {
 public:
  AddressSet() = default;
  explicit AddressSet(std::vector<AddressRange> ranges) : ranges_(std::move(ranges)) {
    Normalize();
  }

  void Add(std::span<const AddressRange> ranges);
  void Remove(const AddressSet& other);

  bool operator==(const AddressSet&) const = default;
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] bool Contains(const core::IpAddress& ip) const;
  [[nodiscard]] bool Contains(const AddressRange& range) const;
  [[nodiscard]] bool Overlaps(const AddressRange& range) const;
  // Ascending, IPv4 before IPv6; neighbours are one range.
  [[nodiscard]] const std::vector<AddressRange>& ranges() const { return ranges_; }

 private:
  void Normalize();
  // The first range that ends at or after `ip`.
  [[nodiscard]] std::vector<AddressRange>::const_iterator From(const core::IpAddress& ip) const;

  std::vector<AddressRange> ranges_;
};

// The addresses that Tailscale gives to nodes: 100.64.0.0/10 without the part
// that ChromeOS uses, and fd7a:115c:a1e0::/48.
const std::vector<AddressRange>& TailnetRanges();
// What autogroup:internet stands for: public addresses.
const std::vector<AddressRange>& InternetRanges();

}  // namespace ringscale::control::policy
