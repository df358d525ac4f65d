// What a client says about its machine (tailcfg.Hostinfo): kept as compact JSON
// with every field, known or not, and looked into for what the server uses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace ringscale::control {

inline constexpr std::size_t kMaxHostinfo = 16 * 1024;

struct Hostinfo {
  // All fields but NetInfo, as a compact object; and NetInfo by itself, or empty.
  std::string base;
  std::string net_info;

  std::string hostname;
  std::string os;
  std::string os_version;
  std::string client_version;
  std::vector<core::IpPrefix> routable_ips;  // host bits cleared, sorted, unique
  std::vector<std::string> request_tags;     // sorted, unique
  std::uint16_t home_derp = 0;
  // Compact JSON of what other clients use: Hostname, OS, the peer API's Services,
  // sshHostKeys, Location, ShareeNode, AppConnector; always in this order.
  std::string peer;

  // base and NetInfo as one object, NetInfo last.
  [[nodiscard]] std::string Merged() const;
  // A report without NetInfo says nothing about the network: the last one stays.
  void KeepNetInfo(const Hostinfo& before);
};

// What a client sent: kInvalid when it is no JSON object, kLimit beyond
// kMaxHostinfo. Empty text and null are an empty object. A known field of a wrong
// type counts as absent.
core::Result<Hostinfo> ParseHostinfo(std::string_view json);
// What Merged made: longer by the escapes that the client left out.
core::Result<Hostinfo> ParseStoredHostinfo(std::string_view json);

}  // namespace ringscale::control
