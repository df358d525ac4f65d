#include "control/dns/dns_settings.h"

#include <algorithm>
#include <set>

#include "core/json/writer.h"

namespace ringscale::control {
namespace {

std::string_view WithoutTrailingDot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool IsLabel(std::string_view label) {
  constexpr std::size_t kMaxLabel = 63;
  if (label.empty() || label.size() > kMaxLabel) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  return std::ranges::all_of(label, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

bool IsResolver(std::string_view text) {
  if (core::IpAddress::Parse(text)) return true;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (text.starts_with(scheme) && text.size() > scheme.size()) {
      return std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '\\';
      });
    }
  }
  return false;
}

void WriteResolvers(core::json::Writer& json, const std::vector<std::string>& resolvers) {
  json.BeginArray();
  for (const std::string& resolver : resolvers) {
    if (!IsResolver(resolver)) continue;
    json.BeginObject().Field("Addr", resolver).EndObject();
  }
  json.EndArray();
}

bool AnyUsable(const std::vector<std::string>& resolvers) {
  return std::any_of(resolvers.begin(), resolvers.end(), IsResolver);
}

bool Inside(const core::IpPrefix& inner, std::string_view outer_text) {
  const auto outer = core::IpPrefix::Parse(outer_text);
  return outer && inner.length >= outer->length && outer->Contains(inner.address);
}

// With MagicDNS clients route the reverse zones of these by themselves.
bool ClientsKnow(const core::IpPrefix& prefix) {
  return Inside(prefix, "100.64.0.0/10") || Inside(prefix, "fd7a:115c:a1e0::/48");
}

void AppendReverseNibbles(std::string& zone, const core::IpAddress& ip, int nibbles) {
  constexpr char kHex[] = "0123456789abcdef";
  for (int i = nibbles - 1; i >= 0; --i) {
    const std::uint8_t byte = ip.bytes[static_cast<std::size_t>(i / 2)];
    zone += kHex[i % 2 == 0 ? byte >> 4 : byte & 15];
    zone += '.';
  }
}

}  // namespace

bool IsDomainName(std::string_view text) {
  constexpr std::size_t kMaxDomain = 253;
  text = WithoutTrailingDot(text);
  if (text.empty() || text.size() > kMaxDomain) return false;
  for (;;) {
    const auto dot = text.find('.');
    if (!IsLabel(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

core::Result<> CheckDnsRecord(const DnsRecord& record) {
  const auto ip = core::IpAddress::Parse(record.value);
  const bool type_fits = record.type.empty() || (record.type == "A" && ip && ip->is_v4()) ||
                         (record.type == "AAAA" && ip && ip->is_v6());
  if (!IsDomainName(record.name)) {
    return core::Fail(core::ErrorCode::kInvalid, "\"" + record.name + "\" is not a domain name");
  }
  if (!ip || !type_fits) {
    return core::Fail(core::ErrorCode::kInvalid,
                      record.name +
                          " must be of type A with an IPv4 address or of "
                          "type AAAA with an IPv6 address");
  }
  return {};
}

std::vector<std::string> DnsWarnings(const DnsSettings& settings) {
  std::vector<std::string> warnings;
  const auto check = [&](std::string_view where, const std::vector<std::string>& resolvers) {
    for (const std::string& resolver : resolvers) {
      if (IsResolver(resolver)) continue;
      warnings.push_back(std::string(where) + ": \"" + resolver +
                         "\" is left out: clients take IP addresses without a port and URLs of "
                         "DNS over HTTPS");
    }
  };
  check("nameservers.global", settings.global_nameservers);
  for (const auto& [domain, resolvers] : settings.split_nameservers) {
    check("nameservers.split." + domain, resolvers);
  }
  if (settings.override_local_dns && !AnyUsable(settings.global_nameservers)) {
    warnings.emplace_back("override_local_dns has no effect without nameservers.global");
  }
  return warnings;
}

std::string RenderDnsConfig(const DnsSettings& settings) {
  std::string out;
  core::json::Writer json(out);
  json.BeginObject();
  if (AnyUsable(settings.global_nameservers)) {
    json.Key(settings.override_local_dns ? "Resolvers" : "FallbackResolvers");
    WriteResolvers(json, settings.global_nameservers);
  }

  std::set<std::string> zones;
  if (settings.magic_dns) {
    for (const core::IpPrefix& prefix : settings.prefixes) {
      if (ClientsKnow(prefix)) continue;
      for (std::string& zone : ReverseZones(prefix)) zones.insert(std::move(zone));
    }
  }
  if (!settings.split_nameservers.empty() || !zones.empty()) {
    json.Key("Routes").BeginObject();
    for (const auto& [domain, resolvers] : settings.split_nameservers) {
      // Without a usable resolver the list would be empty, and an empty list means
      // "answered by MagicDNS".
      if (!AnyUsable(resolvers)) continue;
      json.ForeignKey(WithoutTrailingDot(domain));
      WriteResolvers(json, resolvers);
    }
    for (const std::string& zone : zones) {
      if (settings.split_nameservers.contains(zone)) continue;
      json.ForeignKey(zone).BeginArray().EndArray();
    }
    json.EndObject();
  }

  if (!settings.base_domain.empty() || !settings.search_domains.empty()) {
    json.Key("Domains").BeginArray();
    if (!settings.base_domain.empty()) json.Value(WithoutTrailingDot(settings.base_domain));
    for (const std::string& domain : settings.search_domains) {
      json.Value(WithoutTrailingDot(domain));
    }
    json.EndArray();
  }
  if (settings.magic_dns) json.Field("Proxied", true);
  if (!settings.extra_records.empty()) {
    json.Key("ExtraRecords").BeginArray();
    for (const DnsRecord& record : settings.extra_records) {
      json.BeginObject().Field("Name", record.name);
      if (!record.type.empty()) json.Field("Type", record.type);
      json.Field("Value", record.value).EndObject();
    }
    json.EndArray();
  }
  json.EndObject();
  return out;
}

std::string NodeFqdn(std::string_view given_name, std::string_view base_domain) {
  std::string name(given_name);
  base_domain = WithoutTrailingDot(base_domain);
  if (base_domain.empty()) return name;
  name += '.';
  name += base_domain;
  name += '.';
  return name;
}

std::vector<std::string> ReverseZones(const core::IpPrefix& prefix) {
  std::vector<std::string> zones;
  core::IpAddress ip = prefix.Masked().address;
  const int fixed_bits = prefix.length;
  if (ip.is_v4()) {
    // One zone per value of the first octet that is not fully fixed.
    const int fixed = fixed_bits / 8;
    const int free_bits = fixed < 4 ? 8 - fixed_bits % 8 : 0;
    const int octets = fixed < 4 ? fixed + 1 : 4;
    const auto open = static_cast<std::size_t>(octets - 1);
    const unsigned first = ip.bytes[open];
    const unsigned count = 1U << free_bits;
    for (unsigned value = first; value < first + count && value < 256; ++value) {
      ip.bytes[open] = static_cast<std::uint8_t>(value);
      std::string zone;
      for (int i = octets - 1; i >= 0; --i) {
        zone += std::to_string(ip.bytes[static_cast<std::size_t>(i)]);
        zone += '.';
      }
      zones.push_back(zone + "in-addr.arpa");
    }
    return zones;
  }
  // The same with nibbles; a prefix that ends between two is one zone per nibble.
  const int fixed = fixed_bits / 4;
  const int rest = fixed_bits % 4;
  if (rest == 0) {
    std::string zone;
    AppendReverseNibbles(zone, ip, fixed);
    zones.push_back(zone + "ip6.arpa");
    return zones;
  }
  const auto byte = static_cast<std::size_t>(fixed / 2);
  const int shift = fixed % 2 == 0 ? 4 : 0;
  for (unsigned value = 0; value < (1U << (4 - rest)); ++value) {
    core::IpAddress at = ip;
    at.bytes[byte] = static_cast<std::uint8_t>(ip.bytes[byte] | value << shift);
    std::string zone;
    AppendReverseNibbles(zone, at, fixed + 1);
    zones.push_back(zone + "ip6.arpa");
  }
  return zones;
}

}  // namespace ringscale::control
