// A synthetic node: speaks the control protocol as a client does (upgrade, Noise,
// HTTP/2, register, map stream), without a tunnel behind it. For load and for
// tests of a running server. Runs on one Loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/noise/session.h"
#include "core/crypto/keys.h"
#include "core/engine/loop.h"
#include "core/net/address.h"

struct nghttp2_session;

namespace ringscale::bench {

// The control server under load.
struct ControlTarget {
  core::SocketAddress address;
  std::string host;  // Host header
  core::MachinePublic server_key;
  std::uint16_t capability_version = 142;
};

// GET /key of http://host:port. Blocks up to 5 s.
core::Result<core::MachinePublic> FetchServerKey(const core::SocketAddress& address,
                                                 const std::string& host);

// A node's identity: survives its connections.
struct NodeIdentity {
  core::PrivateKey machine;
  core::NodePublic node_key;
  core::DiscoPublic disco_key;
  std::string hostname;
  std::uint16_t port = 0;  // of the made-up endpoint that changes
  static NodeIdentity Generate(std::size_t index);
};

class ControlNode : public core::engine::StreamHandler {
 public:
  struct Events {
    // The connection is up (Noise done) or could not be made.
    std::function<void(core::Result<>)> connected;
    // One framed message of the map stream, still compressed.
    std::function<void(std::string_view message)> map_message;
    // The connection is gone.
    std::function<void()> closed;
  };
  using Answer = std::function<void(int status, std::string_view body)>;

  ControlNode(core::engine::Loop& loop, const ControlTarget& target, NodeIdentity identity,
              Events events);
  ~ControlNode() override;

  void Connect();
  void Disconnect();
  // POST /machine/register; the answer's body is the RegisterResponse.
  void Register(std::string_view auth_key, Answer answer);
  // Opens the map stream; messages arrive by Events::map_message.
  void Poll();
  // A lite update that announces an endpoint with this port.
  void Update(std::uint16_t endpoint_port, Answer answer);

  [[nodiscard]] const NodeIdentity& identity() const { return identity_; }
  [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }
  [[nodiscard]] bool connected() const { return session_.has_value(); }

  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnClosed(core::engine::StreamId stream, int error) override;

 private:
  struct Exchange;
  class Callbacks;
  void OnHead(std::string_view bytes);
  void StartHttp2(core::Bytes rest);
  void FeedHttp2(std::string_view plaintext);
  void Flush();
  void Post(std::string path, std::string body, std::unique_ptr<Exchange> exchange);
  void OnMapBytes(std::string_view bytes);
  void Fail(std::string what);
  [[nodiscard]] std::string MapRequestBody(bool stream, std::uint16_t endpoint_port) const;

  core::engine::Loop& loop_;
  const ControlTarget& target_;
  NodeIdentity identity_;
  Events events_;
  core::engine::StreamId stream_;
  std::string head_;
  std::optional<control::noise::Initiator> initiator_;
  std::optional<control::noise::Session> session_;
  nghttp2_session* http2_ = nullptr;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::string early_;  // until the early payload has been told from HTTP/2
  bool early_done_ = false;
  bool feeding_ = false;     // inside nghttp2: answers are being told
  std::string partial_map_;  // an incomplete framed message
  std::uint64_t bytes_received_ = 0;
};

}  // namespace ringscale::bench
