// Who is asking, when reverse proxies may stand in between.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace ringscale::core::net {

// The proxies whose X-Forwarded-* headers are believed.
class TrustedProxies {
 public:
  // Prefixes ("10.0.0.0/8") or single addresses. Empty: nobody is believed.
  static Result<TrustedProxies> Parse(std::span<const std::string> entries);

  [[nodiscard]] bool Contains(const IpAddress& ip) const;
  [[nodiscard]] bool empty() const { return prefixes_.empty(); }

 private:
  std::vector<IpPrefix> prefixes_;
};

// What the connection and its request head say about the sender.
struct RequestOrigin {
  SocketAddress peer;  // the socket's; unset ip for a Unix socket
  bool tls = false;    // our own TLS
  // The headers' values, several of one name joined by ", "; nullopt = absent.
  std::optional<std::string_view> forwarded_for;
  std::optional<std::string_view> forwarded_proto;
};

struct ClientOrigin {
  // After trusted proxies. The port is 0 when only a header names the client.
  SocketAddress address;
  // The request comes from this machine itself. Never when somebody who is not
  // trusted claims to forward it.
  bool local = false;
  // The client used TLS, to us or to a trusted proxy.
  bool https = false;
  // The peer is a trusted proxy that forwarded this request.
  bool proxied = false;
};

ClientOrigin ResolveOrigin(const TrustedProxies& proxies, const RequestOrigin& request);

}  // namespace ringscale::core::net
