// The parts of a map that depend on settings only: DNSConfig, DERPMap (per kind of
// client), Domain and fixed defaults. Made once per kind of client.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "control/derp/derp_map.h"
#include "control/map/encoder.h"
#include "control/map/message.h"
#include "core/base/slices.h"

namespace ringscale::control {

// What of a client changes its DERP map.
struct ClientKind {
  std::string host;  // of its own /ts2021 request
  bool https = false;
  std::uint32_t capability = 0;
};

class SettingsPieces {
 public:
  SettingsPieces(Encoder& encoder, std::string domain, bool disable_log_tail);

  void SetDns(std::string dns_config_json);
  void SetDerp(DerpMap map);

  // The beginning of a full map: DERPMap, DNSConfig, ..., and the opened list of
  // UserProfiles.
  [[nodiscard]] core::SharedSlice Head(const ClientKind& client, Encoding encoding);
  // A message that tells a change of it.
  [[nodiscard]] OutputPtr DnsMessage(Encoding encoding);
  [[nodiscard]] OutputPtr DerpMessage(const ClientKind& client, Encoding encoding);

 private:
  struct Variant {
    std::string derp_map;  // JSON
    std::array<core::SharedSlice, kEncodings> head;
    std::array<OutputPtr, kEncodings> message;
  };
  Variant& VariantOf(const ClientKind& client);

  Encoder& encoder_;
  const std::string domain_;
  const bool disable_log_tail_;
  std::string dns_config_ = "{}";
  std::array<OutputPtr, kEncodings> dns_message_;
  DerpMap derp_;
  std::map<std::string, Variant, std::less<>> variants_;
};

}  // namespace ringscale::control
