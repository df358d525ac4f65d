#include "tools/relayd/map_node.h"

#include "core/json/writer.h"
#include "core/net/listener.h"
#include "tools/serverd/join_url.h"

namespace ringscale::relayd {

std::string MapNodeOf(const serverd::Config& config, const serverd::ServerSockets& sockets,
                      const std::string& pin) {
  const auto address = core::net::ParseListenAddress(config.listen.front());
  const std::uint16_t port = address ? address->address.port : std::uint16_t{443};
  std::string host = config.derp.host;
  if (host.empty()) {
    const auto own = serverd::MachineAddresses();
    host = own.empty() ? "127.0.0.1" : own.front().text();
  }
  std::string text;
  core::json::Writer json(text);
  json.BeginObject().Field("Name", "900a").Field("RegionID", 900).Field("HostName", host);
  if (!pin.empty()) json.Field("CertName", pin);
  if (const auto ip = core::IpAddress::Parse(host)) {
    json.Field(ip->is_v4() ? "IPv4" : "IPv6", host);
  }
  if (port != 443) json.Field("DERPPort", port);
  if (sockets.stun.empty()) {
    json.Field("STUNPort", -1);
  } else {
    const auto stun = core::net::ParseListenAddress(sockets.stun.front().address);
    if (stun && stun->address.port != 3478) json.Field("STUNPort", stun->address.port);
  }
  if (sockets.http) json.Field("CanPort80", true);
  json.EndObject();
  return text;
}

}  // namespace ringscale::relayd
