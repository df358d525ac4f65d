#include "control/app/control_connection.h"

#include <algorithm>
#include <array>

#include "control/noise/early_payload.h"
#include "core/base/random.h"
#include "core/net/socket_options.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

constexpr std::uint8_t kIpv6SourceBits = 64;
// What is told of one change, and the answers to most requests.
constexpr std::size_t kSmallOutput = 1024;

// A peer that stops acknowledging is gone: map streams get a message at least once a
// minute, so that it shows. NOTSENT_LOWAT keeps the send queue here, where it can
// still be replaced by something newer.
void SetTcpOptions(int fd, core::Duration silence) {
  core::net::TcpOptions options;
  options.user_timeout = silence;
  options.not_sent_low_water = 128 << 10;
  // Fails on sockets that are not TCP, where none of it means anything.
  (void)core::net::ApplyTcpOptions(fd, options);
}

}  // namespace

ControlConnection::ControlConnection(ControlServer& server,
                                     std::shared_ptr<const MachineConnection> info,
                                     NoiseClient client, bool registered)
    : registered_(registered),
      server_(server),
      h2_(*this, server.limits_.http2),
      transport_(std::move(client.transport)),
      websocket_(std::move(client.websocket)),
      session_(std::move(client.session)),
      info_(std::move(info)),
      fd_(std::move(client.fd)),
      early_plaintext_(std::move(client.plaintext)),
      started_(server.loop_.Now()),
      last_active_(started_) {}

ControlConnection::~ControlConnection() = default;

core::IpPrefix ControlConnection::source() const {
  const core::IpAddress& ip = info_->remote.ip;
  return ip.is_v6() ? core::IpPrefix{ip, kIpv6SourceBits}.Masked() : core::IpPrefix::Host(ip);
}

void ControlConnection::Start() {
  const auto self = shared_from_this();
  SetTcpOptions(fd_.get(), server_.limits_.silence);
  stream_ = server_.loop_.Attach(std::move(fd_), *this);
  if (websocket_ == nullptr) {
    // No client uses the challenge, and no private key is kept: random bytes are
    // as good a public key as any, without the cost of making one.
    core::ChallengePublic challenge;
    core::SecureRandom(challenge.raw);
    const std::string payload = noise::BuildEarlyPayload(challenge);
    const std::array<std::string_view, 1> pieces{payload};
    std::string records;
    std::string wire;
    if (session_.Seal(pieces, records) && SealForWire(records, wire)) {
      server_.loop_.Send(stream_, std::move(wire));
    }
  }
  ReceiveHttp(core::AsBytes(std::exchange(early_plaintext_, {})));
  Receive({});
  FinishInput();
}

// --- input ---

void ControlConnection::OnReceive(core::engine::StreamId /*stream*/, core::MutableBytes bytes) {
  const auto self = shared_from_this();
  Receive(bytes);
  FinishInput();
}

void ControlConnection::Receive(core::MutableBytes bytes) {
  if (ended_ || close_reason_ != nullptr) return;
  const auto result =
      transport_.Receive(server_.pool_, bytes, [this](core::MutableBytes plaintext) {
        if (websocket_ != nullptr) {
          ReceiveMessages(plaintext);
        } else {
          ReceiveRecords(plaintext);
        }
      });
  if (!result && close_reason_ == nullptr) {
    close_reason_ = result.error().code == core::ErrorCode::kClosed
                        ? &server_.stats_.closed_by_peer
                        : &server_.stats_.closed_transport;
  }
}

void ControlConnection::ReceiveMessages(core::MutableBytes bytes) {
  if (close_reason_ != nullptr) return;
  const auto result =
      websocket_->Receive(bytes, [this](core::MutableBytes data) { ReceiveRecords(data); });
  if (!result && close_reason_ == nullptr) {
    close_reason_ = result.error().code == core::ErrorCode::kClosed
                        ? &server_.stats_.closed_by_peer
                        : &server_.stats_.closed_transport;
  }
}

void ControlConnection::ReceiveRecords(core::Bytes bytes) {
  if (close_reason_ != nullptr) return;
  std::string& plaintext = server_.plaintext_;
  plaintext.clear();
  if (!session_.Receive(bytes, plaintext)) {
    close_reason_ = &server_.stats_.closed_noise;
    return;
  }
  ReceiveHttp(core::AsBytes(plaintext));
}

void ControlConnection::ReceiveHttp(core::Bytes bytes) {
  if (bytes.empty() || ended_) return;
  server_.stats_.bytes_received.Add(bytes.size());
  in_feed_ = true;
  drained_ = false;
  const auto result = h2_.Feed(bytes);
  in_feed_ = false;
  if (!result) {
    core::LogDebug("control", "connection closed: " + result.error().message);
    if (close_reason_ == nullptr) close_reason_ = &server_.stats_.closed_http2;
  }
}

void ControlConnection::FinishInput() {
  if (ended_) return;
  if (close_reason_ != nullptr) {
    close_reason_->Add();
    // What the layers still want to say: an alert, a close frame.
    std::string wire;
    if (websocket_ != nullptr && websocket_->has_output()) {
      const std::string frames = websocket_->TakeOutput();
      const std::array<std::string_view, 1> pieces{frames};
      (void)SealTransport(pieces, wire);
    }
    if (std::string alert = transport_.TakeControlOutput(); !alert.empty()) {
      wire += alert;
    } else {
      wire += transport_.SealClose(server_.pool_);
    }
    if (!wire.empty()) server_.loop_.Send(stream_, std::move(wire));
    End(true);
    return;
  }
  Pump();
}

// --- output ---

void ControlConnection::OnSent(core::engine::StreamId /*stream*/) {
  if (drained_) return;
  const auto self = shared_from_this();
  Pump();
}

void ControlConnection::Prefetch() const {
  server_.loop_.Prefetch(stream_);
}

void ControlConnection::Pump() {
  const auto self = shared_from_this();
  while (!ended_) {
    const std::size_t queued = server_.loop_.QueuedBytes(stream_);
    if (queued >= server_.limits_.send_high_water) return;
    core::http::OutputPieces& pieces = server_.pieces_;
    pieces.Clear();
    in_output_ = true;
    const std::size_t room = server_.limits_.send_high_water - queued;
    auto result = h2_.TakeOutput(room, pieces);
    in_output_ = false;
    drained_ = pieces.size() < room;
    std::string wire = transport_.TakeControlOutput();
    core::SharedSlice small;
    if (websocket_ != nullptr && websocket_->has_output()) {
      const std::string frames = websocket_->TakeOutput();
      const std::array<std::string_view, 1> plain{frames};
      if (auto sealed = SealTransport(plain, wire); !sealed) result = std::move(sealed);
    }
    if (!pieces.empty() && result) {
      server_.stats_.bytes_sent.Add(pieces.size());
      const bool bare = transport_.kind() == core::tls::Transport::Kind::kPlain &&
                        websocket_ == nullptr && wire.empty();
      const std::size_t size = noise::Session::SealedSize(pieces.size());
      if (bare && size <= kSmallOutput) {
        result = session_.Seal(pieces.Views(), server_.arena_.Room(size));
        if (result) small = server_.arena_.Take();
      } else if (bare) {
        result = session_.Seal(pieces.Views(), wire);
      } else {
        std::string& records = server_.noise_;
        records.clear();
        result = session_.Seal(pieces.Views(), records);
        if (result) result = SealForWire(records, wire);
      }
    }
    pieces.Clear();
    if (!result || close_reason_ != nullptr) {
      Close(close_reason_ != nullptr ? *close_reason_ : server_.stats_.closed_http2);
      return;
    }
    const bool idle = wire.empty() && small.bytes.empty();
    if (!wire.empty()) server_.loop_.Send(stream_, std::move(wire));
    if (!small.bytes.empty()) server_.loop_.Send(stream_, std::move(small));
    if (h2_.finished()) {
      (goaway_reason_ != nullptr ? *goaway_reason_ : server_.stats_.closed_http2).Add();
      std::string close = transport_.SealClose(server_.pool_);
      if (!close.empty()) server_.loop_.Send(stream_, std::move(close));
      End(true);
      return;
    }
    if (idle || drained_) return;
  }
}

core::Result<> ControlConnection::SealForWire(std::string_view records, std::string& out) {
  if (websocket_ == nullptr) {
    const std::array<std::string_view, 1> pieces{records};
    return SealTransport(pieces, out);
  }
  while (!records.empty()) {
    const std::string_view message = records.substr(0, core::http::WebSocket::kMaxSend);
    std::string header;
    core::http::WebSocket::AppendHeader(message.size(), header);
    const std::array<std::string_view, 2> pieces{header, message};
    if (auto sealed = SealTransport(pieces, out); !sealed) return sealed;
    records.remove_prefix(message.size());
  }
  return {};
}

core::Result<> ControlConnection::SealTransport(std::span<const std::string_view> pieces,
                                                std::string& out) {
  return transport_.Seal(server_.pool_, pieces, out);
}

// --- end ---

void ControlConnection::OnClosed(core::engine::StreamId /*stream*/, int /*error*/) {
  const auto self = shared_from_this();
  stream_ = {};
  if (ended_) return;
  server_.stats_.closed_by_peer.Add();
  End(false);
}

void ControlConnection::Close(core::Counter& counter) {
  if (ended_) return;
  if (in_feed_ || in_output_) {
    // The session is on the stack: FinishInput or Pump closes when it returns.
    close_reason_ = &counter;
    return;
  }
  const auto self = shared_from_this();
  counter.Add();
  End(false);
}

void ControlConnection::GoAway(core::Counter& reason) {
  // The second time: the peer did not even take the first one.
  if (goaway_reason_ == &reason) {
    Close(reason);
    return;
  }
  goaway_reason_ = &reason;
  h2_.GoAway();
}

void ControlConnection::End(bool flush) {
  ended_ = true;
  if (stream_ != core::engine::StreamId{}) {
    if (flush) {
      server_.loop_.CloseAfterFlush(stream_);
    } else {
      server_.loop_.Close(stream_);
    }
  }
  h2_.Abort();
  server_.Remove(*this);
}

void ControlConnection::Sweep(core::Instant now) {
  CheckRegistered();
  if (!h2_.established()) {
    if (now - started_ >= server_.limits_.establish) Close(server_.stats_.closed_slow);
    return;
  }
  if (h2_.open_streams() == 0) {
    const core::Duration limit =
        registered_ ? server_.limits_.idle_registered : server_.limits_.idle_unregistered;
    if (now - last_active_ >= limit) {
      GoAway(server_.stats_.closed_idle);
      Pump();
    }
    return;
  }
  if (h2_.open_streams() == streams_.size()) {
    incomplete_since_.reset();
  } else if (!incomplete_since_) {
    incomplete_since_ = now;
  } else if (now - *incomplete_since_ >= server_.limits_.request) {
    Close(server_.stats_.closed_slow);
  }
}

// --- requests ---

void ControlConnection::CheckRegistered() {
  if (registered_ || !server_.api_.IsRegistered(info_->machine_key)) return;
  registered_ = true;
  server_.OnRegistered(*this);
}

core::http::H2BodyLimits ControlConnection::OnHead(const core::http::H2Request& /*head*/) {
  CheckRegistered();
  return registered_ ? server_.limits_.registered_bodies : server_.limits_.unregistered_bodies;
}

void ControlConnection::OnRequest(core::http::H2Request request) {
  last_active_ = server_.loop_.Now();
  server_.stats_.requests.Add();
  streams_.push_back(request.stream);
  Responder responder(weak_from_this(), request.stream);
  MachineRequest machine_request{info_, std::move(request.authority), std::move(request.path),
                                 std::move(request.query), std::move(request.body)};
  DispatchMachineRequest(server_.api_, request.method, std::move(machine_request),
                         std::move(responder));
}

void ControlConnection::OnStreamClosed(std::int32_t stream) {
  last_active_ = server_.loop_.Now();
  std::erase(streams_, stream);
  const auto it = std::ranges::find(gone_calls_, stream, &decltype(gone_calls_)::value_type::first);
  if (it == gone_calls_.end()) return;
  auto call = std::move(it->second);
  gone_calls_.erase(it);
  call();
}

void ControlConnection::OnOutputReady() {
  drained_ = false;
  if (!ended_ && !in_feed_) server_.MarkDirty(*this);
}

bool ControlConnection::Respond(std::int32_t stream, core::http::H2Response response) {
  std::erase_if(gone_calls_, [&](const auto& entry) { return entry.first == stream; });
  if (ended_) return false;
  CheckRegistered();  // it may have been the answer that made it so
  return h2_.Respond(stream, std::move(response));
}

bool ControlConnection::RespondStream(std::int32_t stream, int status,
                                      const std::vector<core::http::Header>& headers,
                                      core::http::H2Server::MakeSource make) {
  std::erase_if(gone_calls_, [&](const auto& entry) { return entry.first == stream; });
  return !ended_ && h2_.RespondStream(stream, status, headers, std::move(make));
}

void ControlConnection::OnGone(std::int32_t stream, std::move_only_function<void()> call) {
  if (!HasStream(stream)) return;
  std::erase_if(gone_calls_, [&](const auto& entry) { return entry.first == stream; });
  gone_calls_.emplace_back(stream, std::move(call));
}

bool ControlConnection::HasStream(std::int32_t stream) const {
  return !ended_ && std::ranges::find(streams_, stream) != streams_.end();
}

}  // namespace ringscale::control
