#include "control/policy/text_forms.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "control/state/tags.h"

namespace ringscale::control::policy {
namespace {

using core::IpAddress;
using core::IpPrefix;

struct NamedAutogroup {
  std::string_view name;
  Autogroup group;
};
constexpr std::array<NamedAutogroup, 14> kAutogroups = {{
    {"internet", Autogroup::kInternet},
    {"self", Autogroup::kSelf},
    {"member", Autogroup::kMember},
    {"members", Autogroup::kMember},
    {"tagged", Autogroup::kTagged},
    {"danger-all", Autogroup::kDangerAll},
    {"nonroot", Autogroup::kNonRoot},
    {"shared", Autogroup::kShared},
    {"owner", Autogroup::kOwner},
    {"admin", Autogroup::kAdmin},
    {"it-admin", Autogroup::kItAdmin},
    {"network-admin", Autogroup::kNetworkAdmin},
    {"billing-admin", Autogroup::kBillingAdmin},
    {"auditor", Autogroup::kAuditor},
}};

struct NamedProtocol {
  std::string_view name;
  std::uint8_t number;
};
// Those of the hosted service (tailscale.com/types/ipproto) and of headscale.
constexpr std::array<NamedProtocol, 18> kProtocols = {{
    {"icmp", 1},
    {"igmp", 2},
    {"ipv4", 4},
    {"ip-in-ip", 4},
    {"tcp", 6},
    {"egp", 8},
    {"igp", 9},
    {"udp", 17},
    {"gre", 47},
    {"esp", 50},
    {"ah", 51},
    {"ipv6-icmp", 58},
    {"sctp", 132},
    {"fc", 133},
    {"icmpv4", 1},
    {"icmpv6", 58},
    {"dccp", 33},
    {"tsmp", 99},
}};

std::unexpected<std::string> No(std::string message) {
  return std::unexpected(std::move(message));
}

template <class Integer>
std::optional<Integer> ReadInteger(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// With the words of tailcfg.ParseProtoPortRanges.
Read<PortRange> ReadPortRange(std::string_view text) {
  const auto no = [&](std::string_view why) {
    return No("port range " + Quoted(text) + ": " + std::string(why));
  };
  if (text == "*") return PortRange{};
  if (std::ranges::count(text, '-') > 1) return no("too many dashes(-)");
  const auto dash = text.find('-');
  const bool range = dash != std::string_view::npos;
  const auto first = ReadInteger<std::uint16_t>(Trim(text.substr(0, dash)));
  if (!first) return no("invalid first integer");
  const auto last = range ? ReadInteger<std::uint16_t>(Trim(text.substr(dash + 1))) : first;
  if (!last) return no("invalid last integer");
  if (!range && *first == 0) return no("first port must be >0, or use '*' for wildcard");
  if (*first > *last) return no("first port must be >= last port");
  return PortRange{*first, *last};
}

}  // namespace

std::string_view Trim(std::string_view text) {
  static constexpr std::string_view kSpace = " \t\r\n\v\f";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view AutogroupName(Autogroup group) {
  return std::ranges::find(kAutogroups, group, &NamedAutogroup::group)->name;
}

std::string Alias::text() const {
  if (kind == Kind::kUserDomain) return "user:*@" + name;
  return name;
}

std::optional<AddressRange> ReadRange(std::string_view text) {
  if (const auto ip = IpAddress::Parse(text)) return AddressRange::Of(*ip);
  if (text.contains('/')) {
    if (const auto prefix = IpPrefix::Parse(text)) return AddressRange::Of(*prefix);
    return std::nullopt;
  }
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = IpAddress::Parse(text.substr(0, dash));
  const auto last = IpAddress::Parse(text.substr(dash + 1));
  if (!first || !last || first->family != last->family || *last < *first) return std::nullopt;
  return AddressRange{*first, *last};
}

Read<Alias> ReadAlias(std::string_view raw) {
  const std::string_view text = Trim(raw);
  Alias alias;
  alias.name = text;
  if (const auto range = ReadRange(text)) {
    alias.kind = Alias::Kind::kAddress;
    alias.range = *range;
    return alias;
  }
  static constexpr std::string_view kDomain = "user:*@";
  if (text == "*") return alias;
  if (text.starts_with(kDomain) && text.size() > kDomain.size()) {
    alias.kind = Alias::Kind::kUserDomain;
    alias.name = text.substr(kDomain.size());
  } else if (text.starts_with("group:")) {
    alias.kind = Alias::Kind::kGroup;
  } else if (text.starts_with("tag:")) {
    alias.kind = Alias::Kind::kTag;
  } else if (text.starts_with("ipset:")) {
    alias.kind = Alias::Kind::kIpSet;
  } else if (text.starts_with("svc:")) {
    alias.kind = Alias::Kind::kService;
  } else if (text.starts_with("autogroup:")) {
    const auto* const found =
        std::ranges::find(kAutogroups, text.substr(10), &NamedAutogroup::name);
    if (found == kAutogroups.end()) {
      return No("invalid autogroup: got " + Quoted(text) +
                ", must be one of [autogroup:internet autogroup:member autogroup:nonroot "
                "autogroup:tagged autogroup:self autogroup:danger-all]");
    }
    alias.kind = Alias::Kind::kAutogroup;
    alias.autogroup = found->group;
  } else if (text.contains('@')) {
    // After the words above: groups of identity providers have an @ in their names.
    alias.kind = Alias::Kind::kUser;
  } else if (!text.empty() && !text.contains(':')) {
    alias.kind = Alias::Kind::kHost;
  } else {
    return No("invalid alias format: " + Quoted(text));
  }
  return alias;
}

Read<std::vector<PortRange>> ReadPorts(std::string_view text) {
  const std::string all = Lower(text);
  text = all;
  std::vector<PortRange> out;
  for (;;) {
    const auto comma = text.find(',');
    const std::string_view part = Trim(text.substr(0, comma));
    if (part.empty()) return No("invalid port list: " + Quoted(all));
    auto range = ReadPortRange(part);
    if (!range) return No(std::move(range.error()));
    out.push_back(*range);
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

Read<std::pair<std::string, std::string>> SplitHostPort(std::string_view text) {
  if (!text.contains(':')) return No("hostport must contain a colon (\":\")");
  if (text.starts_with(':')) return No("input cannot start with a colon character");
  const auto colon = text.rfind(':');
  std::string host(text.substr(0, colon));
  if (host.contains(',')) return No("host cannot contain a comma (\",\")");
  if (host.contains('[') || host.contains(']')) {
    const auto close = host.find(']');
    const std::string inner = host.substr(1, close == std::string::npos ? 0 : close - 1);
    const std::string rest = close == std::string::npos ? "" : host.substr(close + 1);
    const auto ip = IpAddress::Parse(inner);
    if (!host.starts_with('[') || !ip || !ip->is_v6() || (!rest.empty() && rest[0] != '/')) {
      return No("square brackets are only valid around IPv6 addresses: " + Quoted(text));
    }
    host = inner + rest;
  }
  return std::pair(std::move(host), std::string(text.substr(colon + 1)));
}

bool HasPorts(std::optional<std::uint8_t> protocol) {
  return !protocol || *protocol == 6 || *protocol == 17 || *protocol == 132;
}

Read<std::optional<std::uint8_t>> ReadProtocol(std::string_view text) {
  if (text.empty()) return std::optional<std::uint8_t>();
  const auto* const found = std::ranges::find(kProtocols, Lower(text), &NamedProtocol::name);
  if (found != kProtocols.end()) return std::optional(found->number);
  const auto number = ReadInteger<std::uint8_t>(text);
  if (!number) {
    return No("proto name " + Quoted(text) +
              " not known; use protocol number 0-255 or protocol name (icmp, tcp, udp, etc.)");
  }
  if (text[0] == '0') return No("leading 0 not permitted in protocol number " + Quoted(text));
  return number;
}

Read<IpSpec> ReadIpSpec(std::string_view raw) {
  const std::string_view text = Trim(raw);
  if (text.empty()) return No("empty string");
  if (text.starts_with(':')) return No("empty protocol");
  IpSpec spec;
  const auto colon = text.find(':');
  if (colon != std::string_view::npos) {
    const auto colons = std::ranges::count(text, ':');
    if (colons > 1) {
      std::string parts(text);
      std::ranges::replace(parts, ':', ' ');
      return No("expected only one colon in Internet protocol and port type, got: [" + parts +
                "](" + std::to_string(colons + 1) + ")");
    }
    const std::string_view name = text.substr(0, colon);
    if (name != "*") {
      auto protocol = ReadProtocol(name);
      if (!protocol) return No(std::move(protocol.error()));
      spec.protocol = *protocol;
    }
  }
  auto ports = ReadPorts(colon == std::string_view::npos ? text : text.substr(colon + 1));
  if (!ports) return No(std::move(ports.error()));
  spec.ports = std::move(*ports);
  return spec;
}

std::optional<core::Duration> ReadGoDuration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return core::Duration{};
  if (text.empty()) return std::nullopt;
  struct Unit {
    std::string_view name;
    double ns;
  };
  static constexpr std::array<Unit, 6> kUnits = {
      {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}}};
  double total = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc{} || text[0] == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const auto length = std::min(text.find_first_of("0123456789."), text.size());
    const auto* const unit = std::ranges::find(kUnits, text.substr(0, length), &Unit::name);
    if (unit == kUnits.end() || !std::isfinite(number)) return std::nullopt;
    total += number * unit->ns;
    text.remove_prefix(length);
  }
  if (!(total < 9.2e18)) return std::nullopt;
  const auto ns = static_cast<std::int64_t>(std::llround(total));
  return core::Nanos(negative ? -ns : ns);
}

std::string GoDurationText(core::Duration duration) {
  if (duration.ns == 0) return "0s";
  std::string out = duration.ns < 0 ? "-" : "";
  const auto ns = duration.ns < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(duration.ns)
                                  : static_cast<std::uint64_t>(duration.ns);
  const auto fraction = [](std::uint64_t value, std::uint64_t unit) {
    std::string text = std::to_string(value / unit);
    if (value % unit == 0) return text;
    std::string digits = std::to_string(unit + value % unit).substr(1);
    while (digits.ends_with('0')) digits.pop_back();
    return text + "." + digits;
  };
  constexpr std::uint64_t kSecond = 1'000'000'000;
  if (ns < 1'000) return out + std::to_string(ns) + "ns";
  if (ns < 1'000'000) return out + fraction(ns, 1'000) + "\xc2\xb5s";
  if (ns < kSecond) return out + fraction(ns, 1'000'000) + "ms";
  const std::uint64_t hours = ns / (3600 * kSecond);
  const std::uint64_t minutes = ns / (60 * kSecond) % 60;
  if (hours > 0) out += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) out += std::to_string(minutes) + "m";
  return out + fraction(ns % (60 * kSecond), kSecond) + "s";
}

std::string_view DomainOf(std::string_view email) {
  const auto at = email.rfind('@');
  return at == std::string_view::npos ? std::string_view() : email.substr(at + 1);
}

std::optional<std::string_view> LocalpartDomain(std::string_view user) {
  static constexpr std::string_view kIntro = "localpart:*@";
  if (!user.starts_with(kIntro) || user.size() == kIntro.size()) return std::nullopt;
  return user.substr(kIntro.size());
}

}  // namespace ringscale::control::policy
