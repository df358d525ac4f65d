// The small languages inside a policy's strings: aliases, ports, protocols,
// durations. Errors are messages without a place; the caller knows where.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/policy/document.h"
#include "core/base/time.h"

namespace ringscale::control::policy {

template <class T>
using Read = std::expected<T, std::string>;

[[nodiscard]] std::string_view Trim(std::string_view text);
[[nodiscard]] std::string Lower(std::string_view text);

// An address, a prefix or first-last.
[[nodiscard]] std::optional<AddressRange> ReadRange(std::string_view text);
// Any alias; which kinds a place takes is checked later.
[[nodiscard]] Read<Alias> ReadAlias(std::string_view text);
[[nodiscard]] std::string_view AutogroupName(Autogroup group);

// "22", "80-443", "22,80-443", "*".
[[nodiscard]] Read<std::vector<PortRange>> ReadPorts(std::string_view text);
// "alias:ports"; IPv6 also in brackets.
[[nodiscard]] Read<std::pair<std::string, std::string>> SplitHostPort(std::string_view text);
// The number of a protocol given by name or number; nullopt: all of the usual.
[[nodiscard]] Read<std::optional<std::uint8_t>> ReadProtocol(std::string_view text);
[[nodiscard]] bool HasPorts(std::optional<std::uint8_t> protocol);
// An entry of a grant's `ip`.
[[nodiscard]] Read<IpSpec> ReadIpSpec(std::string_view text);

// As Go reads and prints time.Duration: "1h30m", "168h0m1s".
[[nodiscard]] std::optional<core::Duration> ReadGoDuration(std::string_view text);
[[nodiscard]] std::string GoDurationText(core::Duration duration);

// Behind the @; empty where there is none.
[[nodiscard]] std::string_view DomainOf(std::string_view email);
// "localpart:*@example.com": the domain; nullopt for any other user name.
[[nodiscard]] std::optional<std::string_view> LocalpartDomain(std::string_view user);

}  // namespace ringscale::control::policy
