#include "core/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <span>

#include "core/base/bytes.h"

namespace ringscale::core {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct ParsedAddress {
  IpAddress ip;
  bool was_mapped = false;
};

IpAddress FromV4Bytes(const std::uint8_t* bytes) {
  IpAddress ip;
  ip.family = IpAddress::Family::kV4;
  std::copy_n(bytes, 4, ip.bytes.begin());
  return ip;
}

ParsedAddress FromV6Bytes(const std::uint8_t* bytes) {
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes)) {
    return {FromV4Bytes(bytes + kMappedPrefix.size()), true};
  }
  ParsedAddress out;
  out.ip.family = IpAddress::Family::kV6;
  std::copy_n(bytes, 16, out.ip.bytes.begin());
  return out;
}

std::optional<ParsedAddress> ParseAddress(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN] = {};
  if (text.empty() || text.size() >= sizeof terminated || text.contains('\0')) return std::nullopt;
  text.copy(terminated, text.size());
  std::uint8_t raw[16] = {};
  if (text.contains(':')) {
    if (inet_pton(AF_INET6, terminated, raw) != 1) return std::nullopt;
    return FromV6Bytes(raw);
  }
  if (inet_pton(AF_INET, terminated, raw) != 1) return std::nullopt;
  return ParsedAddress{FromV4Bytes(raw), false};
}

// A decimal number without sign and without leading zeros.
std::optional<unsigned> ParseNumber(std::string_view text, unsigned max) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

std::string V4Text(const std::uint8_t* bytes) {
  std::string out;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) out += '.';
    out += std::to_string(bytes[i]);
  }
  return out;
}

// RFC 5952: the longest run of two or more zero groups is "::", the first one
// among equals; lower case, no leading zeros.
std::string V6Text(const std::array<std::uint8_t, 16>& bytes) {
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] = static_cast<unsigned>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  }
  std::size_t best_start = groups.size();
  std::size_t best_length = 1;
  for (std::size_t start = 0; start < groups.size(); ++start) {
    std::size_t end = start;
    while (end < groups.size() && groups[end] == 0) ++end;
    if (end - start > best_length) {
      best_start = start;
      best_length = end - start;
    }
  }
  std::string out;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i == best_start) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (!out.empty() && !out.ends_with(':')) out += ':';
    char digits[8];
    const auto end = std::to_chars(digits, digits + sizeof digits, groups[i], 16).ptr;
    out.append(digits, end);
  }
  return out;
}

}  // namespace

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[0] == 127;
  return is_v6() && bytes[15] == 1 &&
         std::all_of(bytes.begin(), bytes.end() - 1, [](std::uint8_t b) { return b == 0; });
}

bool IpAddress::is_private() const {
  if (is_v4()) {
    return bytes[0] == 10 || (bytes[0] == 172 && (bytes[1] & 0xf0) == 16) ||
           (bytes[0] == 192 && bytes[1] == 168);
  }
  return is_v6() && (bytes[0] & 0xfe) == 0xfc;
}

std::string IpAddress::text() const {
  if (is_v4()) return V4Text(bytes.data());
  if (is_v6()) return V6Text(bytes);
  return {};
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  const auto parsed = ParseAddress(text);
  if (!parsed) return std::nullopt;
  return parsed->ip;
}

IpAddress IpAddress::V4(std::uint32_t host_order) {
  const std::array<std::uint8_t, 4> raw = {
      static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
      static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)};
  return FromV4Bytes(raw.data());
}

bool IpPrefix::Contains(const IpAddress& ip) const {
  if (!ip.valid() || ip.family != address.family || length > ip.bits()) return false;
  return IpPrefix{ip, length}.Masked().address == Masked().address;
}

IpPrefix IpPrefix::Masked() const {
  IpPrefix out = *this;
  for (std::size_t i = 0; i < out.address.bytes.size(); ++i) {
    const int keep = std::clamp(length - static_cast<int>(i) * 8, 0, 8);
    out.address.bytes[i] = static_cast<std::uint8_t>(out.address.bytes[i] & (0xff00 >> keep));
  }
  return out;
}

std::string IpPrefix::text() const {
  return address.text() + "/" + std::to_string(length);
}

std::optional<IpPrefix> IpPrefix::Parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto parsed = ParseAddress(text.substr(0, slash));
  if (!parsed) return std::nullopt;
  // A mapped prefix counts the 96 bits in front of the IPv4 address.
  const unsigned skipped = parsed->was_mapped ? 96 : 0;
  const auto length =
      ParseNumber(text.substr(slash + 1), static_cast<unsigned>(parsed->ip.bits()) + skipped);
  if (!length || *length < skipped) return std::nullopt;
  return IpPrefix{parsed->ip, static_cast<std::uint8_t>(*length - skipped)};
}

std::string SocketAddress::text() const {
  const std::string number = std::to_string(port);
  return ip.is_v6() ? "[" + ip.text() + "]:" + number : ip.text() + ":" + number;
}

std::optional<SocketAddress> SocketAddress::Parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const auto port = ParseNumber(text.substr(colon + 1), 65535);
  if (!port) return std::nullopt;
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed != host.contains(':')) return std::nullopt;
  const auto ip = IpAddress::Parse(host);
  if (!ip) return std::nullopt;
  return SocketAddress{*ip, static_cast<std::uint16_t>(*port)};
}

SocketAddress SocketAddress::FromNative(const sockaddr_storage& native) {
  if (native.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &native, sizeof v4);
    return {IpAddress::V4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  if (native.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &native, sizeof v6);
    return {FromV6Bytes(v6.sin6_addr.s6_addr).ip, ntohs(v6.sin6_port)};
  }
  return {};
}

socklen_t SocketAddress::ToNative(sockaddr_storage& native, bool v6_socket) const {
  native = {};
  if (v6_socket || ip.is_v6()) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    const std::span<std::uint8_t, 16> raw(v6.sin6_addr.s6_addr);
    if (ip.is_v4()) {
      std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), raw.begin());
      std::copy_n(ip.bytes.begin(), 4, raw.begin() + kMappedPrefix.size());
    } else {
      std::copy(ip.bytes.begin(), ip.bytes.end(), raw.begin());
    }
    std::memcpy(&native, &v6, sizeof v6);
    return sizeof v6;
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(LoadBe32(ip.bytes.data()));
  std::memcpy(&native, &v4, sizeof v4);
  return sizeof v4;
}

}  // namespace ringscale::core
