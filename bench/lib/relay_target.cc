#include "bench/lib/relay_target.h"

#include <netdb.h>

#include <cstring>
#include <string_view>

namespace ringscale::bench {

core::Result<core::SocketAddress> Resolve(const std::string& host, std::uint16_t port) {
  if (const auto literal = core::IpAddress::Parse(host)) {
    return core::SocketAddress{.ip = *literal, .port = port};
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return core::Fail(core::ErrorCode::kNotFound, host + ": " + gai_strerror(error));
  }
  sockaddr_storage native{};
  std::memcpy(&native, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  core::SocketAddress address = core::SocketAddress::FromNative(native);
  address.port = port;
  return address;
}

core::Result<RelayTarget> ParseRelayUrl(const std::string& url) {
  const auto invalid = [&](std::string_view why) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "'" + url + "': " + std::string(why) +
                          "; a relay is derp://HOST:PORT or derps://HOST[:PORT]");
  };
  constexpr std::string_view kPlain = "derp://";
  constexpr std::string_view kTls = "derps://";
  RelayTarget target;
  std::string rest;
  if (url.starts_with(kTls)) {
    target.tls = true;
    rest = url.substr(kTls.size());
  } else if (url.starts_with(kPlain)) {
    rest = url.substr(kPlain.size());
  } else {
    return invalid("unknown scheme");
  }
  while (rest.ends_with('/')) rest.pop_back();
  if (rest.empty()) return invalid("no host");

  std::uint32_t port = target.tls ? 443 : 0;
  const auto bracket = rest.rfind(']');
  const auto colon = rest.rfind(':');
  std::string host = rest;
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    host = rest.substr(0, colon);
    const std::string digits = rest.substr(colon + 1);
    if (digits.empty() || digits.size() > 5 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      return invalid("bad port");
    }
    port = static_cast<std::uint32_t>(std::stoul(digits));
  }
  if (port == 0 || port > 65535) return invalid("bad port");
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) return invalid("no host");
  const auto address = Resolve(host, static_cast<std::uint16_t>(port));
  if (!address) return core::Fail(address.error().code, address.error().message);
  target.name = url;
  target.host = rest;
  target.server_name = host;
  target.address = *address;
  return target;
}

core::Result<std::shared_ptr<const core::tls::ClientContext>> MakeBenchTlsContext(
    const std::string& cipher_suites) {
  core::tls::ClientSettings settings;
  settings.verify = core::tls::ClientSettings::Verify::kNone;
  settings.cipher_suites = cipher_suites;
  return core::tls::MakeClientContext(settings);
}

}  // namespace ringscale::bench
