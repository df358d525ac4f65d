// Map fan-out: what every connected node is told, when, with shared rendering and
// compression (docs/architecture.md, life of a map request).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "control/state/types.h"
#include "control/wire/map_request.h"
#include "core/base/slices.h"
#include "core/http/body_source.h"

namespace ringscale::control {

// One long poll, as the body of its HTTP/2 response. Destroying it ends the poll.
class MapStream : public core::http::BodySource {
 public:
  [[nodiscard]] virtual NodeId node() const = 0;  // 0 = of an unknown node
  // The :authority of this poll's request. Pings repeat it: clients open another
  // Noise connection for another one.
  virtual void SetAuthority(std::string authority) = 0;
};

class MapService : public ChangeListener {
 public:
  ~MapService() override = default;
  // A streaming poll; replaces an older one of the same node (whose body then
  // ends). `waker` must outlive the stream. `host` = Host of the client's own
  // /ts2021 request, `https` its scheme: both go into URLs made for this client.
  // An unknown node gets what OpenExpired gives.
  virtual std::unique_ptr<MapStream> Open(NodeId node, const MapRequest& request, std::string host,
                                          bool https, core::http::BodyWaker& waker) = 0;
  // One framed message (Stream:false, OmitPeers:false).
  virtual std::string OneShot(NodeId node, const MapRequest& request, std::string host,
                              bool https) = 0;

  // For polls whose node key nobody has: one map in which the client's own key
  // expired long ago, so that it shows "logged out" (other statuses are only
  // logged), then keep-alives: an ended stream would be opened again at once.
  // Null when too many such streams are open; then answer 404, which makes the
  // client wait.
  virtual std::unique_ptr<MapStream> OpenExpired(const MapRequest& request, std::string host,
                                                 bool https, core::http::BodyWaker& waker) = 0;
  virtual std::string OneShotExpired(const MapRequest& request, std::string host, bool https) = 0;

  // Makes the client of a node send HEAD `path` (with its query) over Noise
  // (tailcfg.PingRequest). False: it has no stream that is up to date.
  virtual bool Ping(NodeId node, std::string_view path) = 0;
  // Host and scheme of the node's stream, as given to Open; nullopt: it has none.
  [[nodiscard]] virtual std::optional<std::pair<std::string, bool>> HostOf(NodeId node) const = 0;

  [[nodiscard]] virtual std::size_t open_streams() const = 0;
};

}  // namespace ringscale::control
