#include "core/net/trusted_proxies.h"

#include <algorithm>

namespace ringscale::core::net {
namespace {

std::string_view Trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The last element of a comma-separated list; `list` keeps the ones before it.
std::string_view TakeLast(std::string_view& list) {
  const auto comma = list.rfind(',');
  const std::string_view last =
      Trim(comma == std::string_view::npos ? list : list.substr(comma + 1));
  list = comma == std::string_view::npos ? std::string_view() : list.substr(0, comma);
  return last;
}

// "1.2.3.4", "1.2.3.4:5", "::1", "[::1]" or "[::1]:5": proxies differ.
std::optional<IpAddress> ParseForwardedAddress(std::string_view text) {
  if (const auto ip = IpAddress::Parse(text)) return ip;
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    return IpAddress::Parse(text.substr(1, text.size() - 2));
  }
  if (const auto address = SocketAddress::Parse(text)) return address->ip;
  return std::nullopt;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view lower) {
  return std::equal(a.begin(), a.end(), lower.begin(), lower.end(), [](char x, char y) {
    return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y;
  });
}

}  // namespace

Result<TrustedProxies> TrustedProxies::Parse(std::span<const std::string> entries) {
  TrustedProxies proxies;
  for (const std::string& entry : entries) {
    if (const auto prefix = IpPrefix::Parse(entry)) {
      proxies.prefixes_.push_back(prefix->Masked());
    } else if (const auto ip = IpAddress::Parse(entry)) {
      proxies.prefixes_.push_back(IpPrefix::Host(*ip));
    } else {
      return Fail(ErrorCode::kInvalid, "\"" + entry +
                                           "\" is no trusted proxy, expected an address or a "
                                           "prefix such as \"10.0.0.0/8\"");
    }
  }
  return proxies;
}

bool TrustedProxies::Contains(const IpAddress& ip) const {
  return std::any_of(prefixes_.begin(), prefixes_.end(),
                     [&ip](const IpPrefix& prefix) { return prefix.Contains(ip); });
}

ClientOrigin ResolveOrigin(const TrustedProxies& proxies, const RequestOrigin& request) {
  ClientOrigin origin;
  origin.address = request.peer;
  origin.https = request.tls;
  const bool over_unix_socket = !request.peer.ip.valid();
  if (!request.forwarded_for && !request.forwarded_proto) {
    origin.local = over_unix_socket || request.peer.ip.is_loopback();
    return origin;
  }
  if (!proxies.Contains(request.peer.ip)) return origin;
  origin.proxied = true;
  if (request.forwarded_proto) {
    std::string_view list = *request.forwarded_proto;
    origin.https = EqualsIgnoringCase(TakeLast(list), "https");
  }
  // Each proxy appends whom it saw, so the list is true from its end up to the
  // first address that is not ours; whatever stands before that was sent by the
  // client itself. Without any entry nobody knows who asks: not local.
  std::string_view list = request.forwarded_for.value_or(std::string_view());
  while (!Trim(list).empty()) {
    const auto ip = ParseForwardedAddress(TakeLast(list));
    if (!ip) {
      origin.local = false;  // a proxy that does not say whom it saw
      break;
    }
    origin.address = {*ip, 0};
    origin.local = ip->is_loopback();
    if (!proxies.Contains(*ip)) break;
  }
  return origin;
}

}  // namespace ringscale::core::net
