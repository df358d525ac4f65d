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
  const http::HttpRequest& request = parser_.request();
  auto accepted = http::AcceptWebSocket(request, kNoiseProtocol);
  if (!accepted) {
    Refuse(http::TextResponse(accepted.error().status, accepted.error().text),
           front_.stats_.noise_failed);
    return;
  }
  auto websocket = std::make_unique<http::WebSocket>();
  if (!accepted->offered) {
    websocket->Close(http::WebSocketClose::kPolicyViolation);
    front_.stats_.noise_failed.Add();
    SendPlain(accepted->response + websocket->TakeOutput());
    End(true);
    return;
  }
  noise_ = std::make_unique<NoiseState>();
  noise_->websocket = std::move(websocket);
  noise_->upgrade = std::move(accepted->response);
  // A '+' of the Base64 text that was not escaped has become a space.
  std::string initiation = http::QueryValue(request.query, "X-Tailscale-Handshake");
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
  if (noise_->websocket == nullptr) {
    FeedRecords(bytes);
    return;
  }
  const auto result =
      noise_->websocket->Receive(bytes, [this](core::MutableBytes data) { FeedRecords(data); });
  if (state_ == State::kEnded) return;
  if (noise_->websocket->has_output()) SendPlain(noise_->websocket->TakeOutput());
  if (!result) {
    front_.stats_.noise_failed.Add();
    End(true);
  }
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
  const bool websocket = http::EqualsIgnoreCase(upgrade, "websocket");
  if (websocket &&
      request.header("sec-websocket-protocol").find("derp") != std::string_view::npos) {
    Refuse(http::TextResponse(426, "DERP over WebSocket is not offered here"), refused);
    return;
  }
  if (!websocket && !http::EqualsIgnoreCase(upgrade, "derp")) {
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
  if (transport_.kind() == core::tls::Transport::Kind::kSsl) {
    Refuse(http::TextResponse(426, "DERP requires TLS 1.3"), refused);
    return;
  }
  relay::LoginOptions options;
  options.remote = origin_.address;
  options.fast_start = request.header("derp-fast-start") == "1";
  options.not_ideal = !request.header("ideal-node").empty();
  options.over_tls = !plain || (by_proxy && origin_.https);
  derp_ = std::make_unique<DerpState>();
  derp_->login.emplace(*front_.options_.relay, options);
  state_ = State::kDerpLogin;
  SetDeadline(relay::kLoginDeadline, front_.stats_.preface_late);
  SendPlain(derp_->login->Start());
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
  bool taken = false;
  if (derp_ != nullptr) {
    relay::LoggedInClient client = std::move(derp_->client);
    client.fd = std::move(*fd);
    client.tls = transport_.ReleaseKeys(client.ciphertext);
    LeaveFront();
    taken = front_.handlers_.to_relay(std::move(client));
    if (taken) front_.stats_.handed_to_relay.Add();
  } else {
    control::noise::Accepted& accepted = *noise_->accepted;
    control::NoiseClient client{.fd = std::move(*fd),
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
    taken = front_.handlers_.to_control(std::move(client));
    if (taken) front_.stats_.handed_to_control.Add();
  }
  if (!taken) front_.stats_.handover_failed.Add();
}

}  // namespace ringscale::serverd
