// What takes a connection away from HTTP: Noise and DERP.
#include <array>
#include <utility>

#include "core/base/base64.h"
#include "tools/serverd/front/front_connection.h"

namespace ringscale::serverd {
namespace {

namespace http = core::http;

constexpr std::string_view kNoiseProtocol = "tailscale-control-protocol";
constexpr std::string_view kHandshakeHeader = "x-tailscale-handshake";

}  // namespace

// --- WebSocket ---

std::optional<FrontConnection::WebSocketStart> FrontConnection::StartWebSocket(
    std::string_view protocol, core::Counter& refused) {
  auto accepted = http::AcceptWebSocket(parser_.request(), protocol);
  if (!accepted) {
    Refuse(http::TextResponse(accepted.error().status, accepted.error().text), refused);
    return std::nullopt;
  }
  auto websocket = std::make_unique<http::WebSocket>();
  if (accepted->offered) return WebSocketStart{std::move(websocket), std::move(accepted->response)};
  websocket->Close(http::WebSocketClose::kPolicyViolation);
  refused.Add();
  SendPlain(accepted->response + websocket->TakeOutput());
  End(true);
  return std::nullopt;
}

void FrontConnection::Unwrap(http::WebSocket* websocket, core::MutableBytes bytes,
                             core::Counter& failed, void (FrontConnection::*feed)(core::Bytes)) {
  if (websocket == nullptr) return (this->*feed)(bytes);
  const auto result =
      websocket->Receive(bytes, [this, feed](core::MutableBytes data) { (this->*feed)(data); });
  if (state_ == State::kEnded) return;
  if (websocket->has_output()) SendPlain(websocket->TakeOutput());
  if (!result) {
    failed.Add();
    End(true);
  }
}

// --- Noise ---

void FrontConnection::StartNoise() {
  const http::HttpRequest& request = parser_.request();
  core::Counter& failed = front_.stats_.noise_failed;
  const std::string_view upgrade = request.header("upgrade");
  if (request.method == "GET" && http::EqualsIgnoreCase(upgrade, "websocket")) {
    StartNoiseWebSocket();
    return;
  }
  if (upgrade.empty()) {
    Refuse(http::TextResponse(400,
                              "missing next protocol: this path is for Tailscale clients; if one "
                              "was asking, a proxy in between dropped its Upgrade header"),
           failed);
  } else if (!http::EqualsIgnoreCase(upgrade, kNoiseProtocol)) {
    Refuse(http::TextResponse(400, "unknown next protocol"), failed);
  } else if (request.method != "POST" || parser_.has_body()) {
    Refuse(http::TextResponse(400, "the upgrade is a POST without a body"), failed);
  } else if (!http::HasHeader(request.headers, kHandshakeHeader)) {
    Refuse(http::TextResponse(400, "missing Tailscale handshake header"), failed);
  } else {
    noise_ = std::make_unique<NoiseState>();
    noise_->upgrade =
        http::SwitchingProtocols({{"Upgrade", kNoiseProtocol}, {"Connection", "upgrade"}});
    WaitForNoiseTurn(request.header(kHandshakeHeader));
  }
}

void FrontConnection::StartNoiseWebSocket() {
  auto started = StartWebSocket(kNoiseProtocol, front_.stats_.noise_failed);
  if (!started) return;
  noise_ = std::make_unique<NoiseState>();
  noise_->websocket = std::move(started->websocket);
  noise_->upgrade = std::move(started->response);
  // A '+' of the Base64 text that was not escaped has become a space.
  std::string initiation = http::QueryValue(parser_.request().query, "X-Tailscale-Handshake");
  for (char& c : initiation) c = c == ' ' ? '+' : c;
  WaitForNoiseTurn(initiation);
}

void FrontConnection::WaitForNoiseTurn(std::string_view initiation) {
  auto decoded = core::Base64Decode(initiation);
  if (!decoded || decoded->size() != control::noise::kInitiationSize) {
    Refuse(http::TextResponse(400, "invalid tailscale handshake header"),
           front_.stats_.noise_failed);
    return;
  }
  noise_->initiation = std::move(*decoded);
  state_ = State::kNoiseWaiting;
  SetDeadline(front_.shared_.limits.preface, front_.stats_.preface_late);
  front_.WantTurn(*this, false);
}

void FrontConnection::AnswerNoise() {
  auto accepted = control::noise::Respond(*front_.options_.noise_key, noise_->initiation);
  if (!accepted) {
    Refuse(http::TextResponse(400, accepted.error().message), front_.stats_.noise_failed);
    return;
  }
  std::string answer = std::move(noise_->upgrade);
  if (noise_->websocket != nullptr) {
    http::WebSocket::AppendHeader(accepted->response.size(), answer);
  }
  answer += core::AsText(accepted->response);
  noise_->accepted = std::move(*accepted);
  state_ = State::kNoiseRecord;
  SendPlain(answer);
}

void FrontConnection::FeedNoise(core::MutableBytes bytes) {
  Unwrap(noise_->websocket.get(), bytes, front_.stats_.noise_failed, &FrontConnection::FeedRecords);
}

void FrontConnection::FeedRecords(core::Bytes bytes) {
  if (state_ == State::kEnded) return;
  if (!noise_->accepted->session.Receive(bytes, noise_->plaintext)) {
    Close(&front_.stats_.noise_failed);
    return;
  }
  if (!noise_->plaintext.empty()) state_ = State::kHandOver;
}

// --- DERP ---

void FrontConnection::StartDerp() {
  const http::HttpRequest& request = parser_.request();
  core::Counter& refused = front_.stats_.derp_refused;
  if (front_.options_.relay == nullptr) {
    Refuse(http::TextResponse(404, "derp server disabled"), refused);
    return;
  }
  const std::string_view upgrade = request.header("upgrade");
  const bool names_websocket = http::EqualsIgnoreCase(upgrade, "websocket");
  // Very old clients wrote "WebSocket" and meant plain DERP.
  const bool websocket = names_websocket && request.header("sec-websocket-protocol").find("derp") !=
                                                std::string_view::npos;
  if (!names_websocket && !http::EqualsIgnoreCase(upgrade, "derp")) {
    Refuse(http::TextResponse(426, "DERP requires connection upgrade"), refused);
    return;
  }
  // A ClientInfo that somebody sees on its way can be used again by him.
  const bool plain = transport_.kind() == core::tls::Transport::Kind::kPlain;
  const bool by_proxy = front_.options_.trusted_proxies.Contains(peer_.ip);
  if (plain && !by_proxy && !peer_.ip.is_loopback() && !front_.options_.derp_allow_plain) {
    Refuse(http::TextResponse(426, "DERP requires TLS"), refused);
    return;
  }
  auto derp = std::make_unique<DerpState>();
  if (websocket || transport_.kind() == core::tls::Transport::Kind::kSsl) {
    derp->bridge = TakeBridgePlace(front_.shared_.bridges, front_.shared_.limits.bridges);
    if (derp->bridge == nullptr) {
      Refuse(http::TextResponse(503, "too many clients over WebSocket or TLS 1.2"),
             front_.stats_.bridges_full);
      return;
    }
  }
  std::string output;
  if (websocket) {
    auto started = StartWebSocket("derp", refused);
    if (!started) return;
    derp->websocket = std::move(started->websocket);
    output = std::move(started->response);
    front_.stats_.websocket_accepts.Add();
  }
  relay::LoginOptions options;
  options.remote = origin_.address;
  const bool fast_start = !websocket && request.header("derp-fast-start") == "1";
  if (fast_start) front_.stats_.fast_starts.Add();
  options.fast_start = fast_start || websocket;
  options.not_ideal = !websocket && !request.header("ideal-node").empty();
  options.over_tls = !plain || (by_proxy && origin_.https);
  derp_ = std::move(derp);
  derp_->login.emplace(*front_.options_.relay, options);
  const std::string hello = derp_->login->Start();
  if (websocket) http::WebSocket::AppendHeader(hello.size(), output);
  state_ = State::kDerpLogin;
  SetDeadline(relay::kLoginDeadline, front_.stats_.preface_late);
  SendPlain(output + hello);
}

void FrontConnection::FeedDerp(core::MutableBytes bytes) {
  Unwrap(derp_->websocket.get(), bytes, front_.stats_.derp_failed,
         &FrontConnection::FeedDerpStream);
}

void FrontConnection::FeedDerpStream(core::Bytes bytes) {
  switch (state_) {
    case State::kDerpLogin:
      return FeedLogin(bytes);
    case State::kDerpAsking:
      (void)derp_->login->Feed(bytes);
      return;
    case State::kHandOver:
      derp_->client.plaintext.insert(derp_->client.plaintext.end(), bytes.begin(), bytes.end());
      return;
    default:
      return;
  }
}

void FrontConnection::FeedLogin(core::Bytes bytes) {
  const auto status = derp_->login->Feed(bytes);
  if (!status) {
    Close(&front_.stats_.derp_failed);
    return;
  }
  if (*status == relay::ServerLogin::Status::kNeedMore) return;
  if (*status == relay::ServerLogin::Status::kAsk) {
    state_ = State::kDerpAsking;
    SetDeadline(relay::kLoginDeadline, front_.stats_.preface_late);
    front_.handlers_.admit(derp_->login->key(), origin_.address, front_.MakeAdmitAnswer(*this));
    return;
  }
  FinishLogin();
}

void FrontConnection::Admit(bool allow) {
  if (state_ != State::kDerpAsking) return;
  const auto self = shared_from_this();
  if (!allow) {
    Close(&front_.stats_.derp_failed);
    return;
  }
  derp_->login->Admit();
  FinishLogin();
  if (state_ == State::kHandOver) TryHandOver();
}

void FrontConnection::FinishLogin() {
  state_ = State::kHandOver;
  const auto server_info = derp_->login->TakeOutput();
  derp_->client = derp_->login->TakeClient();
  derp_->client.server_info.assign(server_info.begin(), server_info.end());
}

// --- the new owner ---

void FrontConnection::TryHandOver() {
  Pause();
  if (front_.loop_.QueuedBytes(stream_) > 0) return;  // OnSent comes
  auto fd = front_.loop_.Detach(stream_);
  if (!fd) {
    Close(&front_.stats_.handover_failed);
    return;
  }
  if (!(derp_ != nullptr ? HandToRelay(std::move(*fd)) : HandToControl(std::move(*fd)))) {
    front_.stats_.handover_failed.Add();
  }
}

bool FrontConnection::HandToRelay(core::Fd fd) {
  relay::LoggedInClient client = std::move(derp_->client);
  if (derp_->bridge == nullptr) {
    client.fd = std::move(fd);
    client.tls = transport_.ReleaseKeys(client.ciphertext);
  } else {
    auto shard_end = front_.Bridge({.fd = std::move(fd),
                                    .transport = std::move(transport_),
                                    .websocket = std::move(derp_->websocket),
                                    .place = std::move(derp_->bridge),
                                    .can_mesh = client.can_mesh});
    if (!shard_end) {
      LeaveFront();
      return false;
    }
    client.fd = std::move(*shard_end);
  }
  LeaveFront();
  if (!front_.handlers_.to_relay(std::move(client))) return false;
  front_.stats_.handed_to_relay.Add();
  return true;
}

bool FrontConnection::HandToControl(core::Fd fd) {
  control::noise::Accepted& accepted = *noise_->accepted;
  control::NoiseClient client{.fd = std::move(fd),
                              .remote = origin_.address,
                              .transport = std::move(transport_),
                              .session = std::move(accepted.session),
                              .machine_key = accepted.machine_key,
                              .protocol_version = accepted.protocol_version,
                              .plaintext = std::move(noise_->plaintext),
                              .host = std::move(host_),
                              .https = origin_.https,
                              .websocket = std::move(noise_->websocket)};
  LeaveFront();
  if (!front_.handlers_.to_control(std::move(client))) return false;
  front_.stats_.handed_to_control.Add();
  return true;
}

}  // namespace ringscale::serverd
