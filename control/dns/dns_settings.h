// DNS of the tailnet as plain settings, and what clients get of them
// (tailcfg.DNSConfig).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace ringscale::control {

struct DnsRecord {
  std::string name;
  std::string type;  // "A", "AAAA" or empty (by value); clients use no others
  std::string value;
  bool operator==(const DnsRecord&) const = default;
};

struct DnsSettings {
  bool magic_dns = true;
  std::string base_domain = "tailnet.internal";
  // Whether the global nameservers replace those of the clients' systems.
  bool override_local_dns = false;
  // IP addresses, or URLs of DNS over HTTPS.
  std::vector<std::string> global_nameservers;
  std::map<std::string, std::vector<std::string>> split_nameservers;  // by domain
  std::vector<std::string> search_domains;                            // after base_domain
  std::vector<DnsRecord> extra_records;
  // The tailnet's address ranges, for reverse lookups.
  std::vector<core::IpPrefix> prefixes;
};

// A trailing dot is allowed.
[[nodiscard]] bool IsDomainName(std::string_view text);
// Whether clients can use the record; the message begins with its name.
[[nodiscard]] core::Result<> CheckDnsRecord(const DnsRecord& record);

// Nameservers that clients cannot use (they are left out), one sentence each.
[[nodiscard]] std::vector<std::string> DnsWarnings(const DnsSettings& settings);

// The DNSConfig object. Identical for all clients.
[[nodiscard]] std::string RenderDnsConfig(const DnsSettings& settings);

// "<given name>.<base domain>." of a node; without a base domain the bare label.
[[nodiscard]] std::string NodeFqdn(std::string_view given_name, std::string_view base_domain);

// Zones that hold the PTR records of a prefix, without trailing dot.
[[nodiscard]] std::vector<std::string> ReverseZones(const core::IpPrefix& prefix);

}  // namespace ringscale::control
