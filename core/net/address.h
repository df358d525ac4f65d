// Socket addresses, IP addresses and prefixes as values.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringscale::core {

// An IPv4 or IPv6 address. IPv4-mapped IPv6 addresses are unmapped on parse.
struct IpAddress {
  enum class Family : std::uint8_t { kNone, kV4, kV6 };
  Family family = Family::kNone;
  std::array<std::uint8_t, 16> bytes{};  // the first four hold an IPv4 address

  auto operator<=>(const IpAddress&) const = default;
  [[nodiscard]] bool valid() const { return family != Family::kNone; }
  [[nodiscard]] bool is_v4() const { return family == Family::kV4; }
  [[nodiscard]] bool is_v6() const { return family == Family::kV6; }
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_private() const;  // RFC 1918 or ULA
  [[nodiscard]] int bits() const { return is_v4() ? 32 : 128; }
  [[nodiscard]] std::string text() const;  // RFC 5952
  static std::optional<IpAddress> Parse(std::string_view text);
  static IpAddress V4(std::uint32_t host_order);
};

// A CIDR prefix; host bits are kept as written (Masked() clears them).
struct IpPrefix {
  IpAddress address;
  std::uint8_t length = 0;

  auto operator<=>(const IpPrefix&) const = default;
  [[nodiscard]] bool Contains(const IpAddress& ip) const;
  [[nodiscard]] IpPrefix Masked() const;
  [[nodiscard]] bool IsDefaultRoute() const { return length == 0; }
  [[nodiscard]] std::string text() const;
  static std::optional<IpPrefix> Parse(std::string_view text);
  static IpPrefix Host(const IpAddress& ip) { return {ip, static_cast<std::uint8_t>(ip.bits())}; }
};

struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;

  auto operator<=>(const SocketAddress&) const = default;
  [[nodiscard]] std::string text() const;  // "1.2.3.4:5", "[::1]:5"
  static std::optional<SocketAddress> Parse(std::string_view text);
  static SocketAddress FromNative(const sockaddr_storage& native);
  // Fills `native`, returns its length. The family of the socket decides
  // whether IPv4 is written mapped: pass v6_socket for AF_INET6 sockets.
  socklen_t ToNative(sockaddr_storage& native, bool v6_socket) const;
};

}  // namespace ringscale::core
