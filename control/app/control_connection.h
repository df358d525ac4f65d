// One client connection of the control plane: socket, TLS, WebSocket, Noise and
// HTTP/2 in a row. Private to ControlServer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/app/control_server.h"

namespace ringscale::control {

class ControlConnection final : public core::engine::StreamHandler,
                                public core::http::H2Handler,
                                public ResponderTarget,
                                public std::enable_shared_from_this<ControlConnection> {
 public:
  ControlConnection(ControlServer& server, std::shared_ptr<const MachineConnection> info,
                    NoiseClient client, bool registered);
  ~ControlConnection() override;

  // Attaches to the loop, sends the first bytes, works on what came with the client.
  void Start();
  // Sends what there is while the socket takes it.
  void Pump();
  // Fetches what Pump reads first into the cache.
  void Prefetch() const;
  // Closes for reasons of time. `now` is the loop's.
  void Sweep(core::Instant now);
  // No new streams; closes, counted by `reason`, when the last one has ended.
  void GoAway(core::Counter& reason);
  // Closes at once; `counter` says why. Safe at any time.
  void Close(core::Counter& counter);

  [[nodiscard]] const MachineConnection& info() const { return *info_; }
  [[nodiscard]] core::IpPrefix source() const;
  [[nodiscard]] bool registered() const { return registered_; }

  bool dirty = false;  // the server's: it is in the list of those to be pumped

  // StreamHandler
  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnSent(core::engine::StreamId stream) override;
  void OnClosed(core::engine::StreamId stream, int error) override;

  // H2Handler
  core::http::H2BodyLimits OnHead(const core::http::H2Request& head) override;
  void OnRequest(core::http::H2Request request) override;
  void OnStreamClosed(std::int32_t stream) override;
  void OnOutputReady() override;

  // ResponderTarget
  bool Respond(std::int32_t stream, core::http::H2Response response) override;
  bool RespondStream(std::int32_t stream, int status,
                     const std::vector<core::http::Header>& headers,
                     core::http::H2Server::MakeSource make) override;
  void OnGone(std::int32_t stream, std::move_only_function<void()> call) override;
  [[nodiscard]] bool HasStream(std::int32_t stream) const override;

 private:
  // Input, from the outside in. After a failure `close_reason_` is set.
  void Receive(core::MutableBytes bytes);
  void ReceiveMessages(core::MutableBytes bytes);
  void ReceiveRecords(core::Bytes bytes);
  void ReceiveHttp(core::Bytes bytes);
  void FinishInput();

  // Appends the wire form of Noise records to `out`.
  core::Result<> SealForWire(std::string_view records, std::string& out);
  core::Result<> SealTransport(std::span<const std::string_view> pieces, std::string& out);
  void CheckRegistered();
  void End(bool flush);

  // What Pump reads for a message to a quiet stream comes first, beside `dirty`.
  bool registered_;
  // Inside a call of the HTTP/2 session: it must stay. Output follows input anyway.
  bool in_feed_ = false;
  bool in_output_ = false;
  // The session had nothing more when it was asked last, and nothing happened since.
  bool drained_ = false;
  bool ended_ = false;
  ControlServer& server_;
  core::engine::StreamId stream_;
  core::http::H2Server h2_;
  core::tls::Transport transport_;
  std::unique_ptr<core::http::WebSocket> websocket_;
  core::Counter* close_reason_ = nullptr;
  core::Counter* goaway_reason_ = nullptr;
  noise::Session session_;
  const std::shared_ptr<const MachineConnection> info_;
  core::Fd fd_;                        // until Start
  std::string early_plaintext_;        // until Start
  std::vector<std::int32_t> streams_;  // dispatched and not closed
  std::vector<std::pair<std::int32_t, std::move_only_function<void()>>> gone_calls_;
  core::Instant started_;
  core::Instant last_active_;  // when the last stream closed, or a request was complete
  // Since when every sweep has found a request that was not complete.
  std::optional<core::Instant> incomplete_since_;
};

}  // namespace ringscale::control
