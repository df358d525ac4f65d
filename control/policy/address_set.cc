#include "control/policy/address_set.h"

#include <algorithm>
#include <string_view>

namespace ringscale::control::policy {
namespace {

using core::IpAddress;
using core::IpPrefix;

std::size_t Length(const IpAddress& ip) {
  return ip.is_v4() ? 4 : 16;
}

// The address after (before) `ip`; nullopt at the end of the family.
std::optional<IpAddress> Step(IpAddress ip, bool up) {
  for (std::size_t i = Length(ip); i-- > 0;) {
    auto& byte = ip.bytes[i];
    if (up ? ++byte != 0 : byte-- != 0) return ip;
  }
  return std::nullopt;
}

std::vector<AddressRange> Prefixes(std::initializer_list<std::string_view> texts) {
  std::vector<AddressRange> out;
  for (const auto text : texts) out.push_back(AddressRange::Of(*IpPrefix::Parse(text)));
  return out;
}

}  // namespace

AddressRange AddressRange::Of(const IpPrefix& prefix) {
  AddressRange range{prefix.Masked().address, prefix.Masked().address};
  for (int bit = prefix.length; bit < prefix.address.bits(); ++bit) {
    const auto index = static_cast<std::size_t>(bit);
    range.last.bytes[index / 8] |= static_cast<std::uint8_t>(0x80 >> (index % 8));
  }
  return range;
}

std::optional<IpPrefix> AddressRange::prefix() const {
  int length = 0;
  const auto bit = [](const IpAddress& ip, int at) {
    const auto index = static_cast<std::size_t>(at);
    return (ip.bytes[index / 8] >> (7 - index % 8)) & 1;
  };
  while (length < first.bits() && bit(first, length) == bit(last, length)) ++length;
  const IpPrefix prefix{first, static_cast<std::uint8_t>(length)};
  if (Of(prefix) != *this) return std::nullopt;
  return prefix;
}

std::vector<IpPrefix> AddressRange::Cover() const {
  std::vector<IpPrefix> out;
  for (std::optional<IpAddress> at = first; at && *at <= last;) {
    // The widest prefix that begins here and ends within.
    IpPrefix widest = IpPrefix::Host(*at);
    while (widest.length > 0) {
      const IpPrefix wider{*at, static_cast<std::uint8_t>(widest.length - 1)};
      if (wider.Masked().address != *at || Of(wider).last > last) break;
      widest = wider;
    }
    out.push_back(widest);
    at = Step(Of(widest).last, true);
  }
  return out;
}

std::string AddressRange::text() const {
  if (single()) return first.text();
  if (const auto whole = prefix()) return whole->text();
  return first.text() + "-" + last.text();
}

void AddressSet::Normalize() {
  std::ranges::sort(ranges_);
  std::vector<AddressRange> out;
  for (const auto& range : ranges_) {
    if (!out.empty() && out.back().first.family == range.first.family) {
      auto& last = out.back().last;
      const auto next = Step(last, true);
      if (!next || range.first <= *next) {
        last = std::max(last, range.last);
        continue;
      }
    }
    out.push_back(range);
  }
  ranges_ = std::move(out);
}

void AddressSet::Add(std::span<const AddressRange> ranges) {
  if (ranges.empty()) return;
  ranges_.insert(ranges_.end(), ranges.begin(), ranges.end());
  Normalize();
}

void AddressSet::Remove(const AddressSet& other) {
  std::vector<AddressRange> out;
  for (AddressRange rest : ranges_) {
    bool gone = false;
    for (auto hole = other.From(rest.first);
         !gone && hole != other.ranges_.end() && hole->Overlaps(rest); ++hole) {
      if (rest.first < hole->first) out.push_back({rest.first, *Step(hole->first, false)});
      gone = hole->last >= rest.last;
      if (!gone) rest.first = *Step(hole->last, true);
    }
    if (!gone) out.push_back(rest);
  }
  ranges_ = std::move(out);
}

std::vector<AddressRange>::const_iterator AddressSet::From(const IpAddress& ip) const {
  return std::ranges::lower_bound(ranges_, ip, {}, &AddressRange::last);
}

bool AddressSet::Contains(const IpAddress& ip) const {
  const auto at = From(ip);
  return at != ranges_.end() && at->Contains(ip);
}

bool AddressSet::Contains(const AddressRange& range) const {
  const auto at = From(range.first);
  return at != ranges_.end() && at->Contains(range);
}

bool AddressSet::Overlaps(const AddressRange& range) const {
  const auto at = From(range.first);
  return at != ranges_.end() && at->Overlaps(range);
}

const std::vector<AddressRange>& TailnetRanges() {
  static const std::vector<AddressRange> kRanges = [] {
    AddressSet set(Prefixes({"100.64.0.0/10", "fd7a:115c:a1e0::/48"}));
    set.Remove(AddressSet(Prefixes({"100.115.92.0/23"})));
    return set.ranges();
  }();
  return kRanges;
}

const std::vector<AddressRange>& InternetRanges() {
  static const std::vector<AddressRange> kRanges = [] {
    AddressSet set(Prefixes({"0.0.0.0/0", "2000::/3"}));
    set.Remove(AddressSet(Prefixes(
        {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"})));
    return set.ranges();
  }();
  return kRanges;
}

}  // namespace ringscale::control::policy
