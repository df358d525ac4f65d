#include "tools/serverd/front/front_connection.h"

#include <array>
#include <utility>

#include "core/net/socket_options.h"
#include "tools/serverd/front/builtin_routes.h"

namespace ringscale::serverd {
namespace {

namespace http = core::http;

constexpr std::uint8_t kTlsHandshakeRecord = 0x16;
// Answers that the peer has not taken yet: above it, no further request is read.
constexpr std::size_t kMaxQueued = 64 * 1024;

// The values of all fields of that name.
std::optional<std::string> JoinedHeader(const http::HttpRequest& request, std::string_view name) {
  std::optional<std::string> joined;
  for (const http::Header& header : request.headers) {
    if (header.name != name) continue;
    if (joined) *joined += ", ";
    joined = joined.value_or("") + header.value;
  }
  return joined;
}

}  // namespace

FrontConnection::FrontConnection(Front& front, std::uint64_t id, const core::SocketAddress& peer,
                                 bool counted)
    : front_(front), id_(id), peer_(peer) {
  if (counted) counted_source_ = peer.ip;
}

FrontConnection::~FrontConnection() = default;

void FrontConnection::Start(core::Fd fd) {
  // A reader that stalls for long, or one that is gone.
  core::net::TcpOptions options;
  options.user_timeout = core::Seconds(30);
  (void)core::net::ApplyTcpOptions(fd.get(), options);
  stream_ = front_.loop_.Attach(std::move(fd), *this);
  SetDeadline(front_.shared_.limits.first_byte, front_.stats_.first_byte_late);
}

void FrontConnection::SetDeadline(core::Duration delay, core::Counter& reason) {
  front_.loop_.CancelTimer(deadline_);
  deadline_ = front_.loop_.After(delay, [this, &reason] { Close(&reason); });
}

// --- input ---

void FrontConnection::OnReceive(core::engine::StreamId /*stream*/, core::MutableBytes bytes) {
  const auto self = shared_from_this();
  if (state_ == State::kFirstByte && !bytes.empty()) {
    SetDeadline(front_.shared_.limits.head, front_.stats_.head_late);
    if (bytes.front() == kTlsHandshakeRecord) {
      kept_ = core::AsText(bytes);
      StartTls();
      return;
    }
    state_ = State::kRequest;
  }
  if (state_ == State::kTlsHandshake) {
    FeedTls(bytes);
  } else {
    Receive(bytes);
  }
  FinishInput();
}

void FrontConnection::StartTls() {
  if (front_.tls_context_.load() == nullptr) {
    Close(&front_.stats_.no_certificate);
    return;
  }
  state_ = State::kTlsWaiting;
  Pause();
  front_.WantTurn(*this, true);
}

void FrontConnection::RunHandshake() {
  const auto self = shared_from_this();
  if (state_ == State::kTlsWaiting) {
    auto started = core::tls::StartHandshake(front_.tls_context_.load());
    if (!started) {
      Close(&front_.stats_.tls_failed);
      return;
    }
    handshake_ = std::move(*started);
    state_ = State::kTlsHandshake;
    const std::string hello = std::exchange(kept_, {});
    FeedTls(core::AsBytes(hello));
    GoOn();
  } else if (state_ == State::kNoiseWaiting) {
    AnswerNoise();
    GoOn();
  }
}

void FrontConnection::FeedTls(core::Bytes bytes) {
  const auto status = handshake_->Feed(bytes);
  if (std::string output = handshake_->TakeOutput(); !output.empty()) {
    front_.loop_.Send(stream_, std::move(output));
  }
  if (!status) {
    front_.stats_.tls_failed.Add();
    End(true);
    return;
  }
  if (*status == core::tls::Handshake::Status::kNeedMore) return;
  auto transport = handshake_->Finish();
  handshake_.reset();
  front_.EndTurn(*this);
  if (!transport) {
    Close(&front_.stats_.tls_failed);
    return;
  }
  transport_ = std::move(*transport);
  state_ = State::kRequest;
  Receive({});
}

void FrontConnection::Receive(core::MutableBytes bytes) {
  const auto result = transport_.Receive(
      front_.pool_, bytes, [this](core::MutableBytes plaintext) { OnPlaintext(plaintext); });
  if (state_ == State::kEnded) return;
  if (std::string output = transport_.TakeControlOutput(); !output.empty()) {
    front_.loop_.Send(stream_, std::move(output));
  }
  if (!result) {
    if (result.error().code != core::ErrorCode::kClosed) front_.stats_.tls_failed.Add();
    End(true);
  }
}

void FrontConnection::OnPlaintext(core::MutableBytes bytes) {
  core::Bytes rest = bytes;
  reading_ = true;
  FeedRequest(rest);
  reading_ = false;
  if (rest.empty()) return;
  bytes = bytes.last(rest.size());
  switch (state_) {
    case State::kNoiseRecord:
      FeedNoise(bytes);
      return;
    case State::kDerpLogin:
    case State::kDerpAsking:
      FeedDerp(bytes);
      return;
    case State::kHandOver:
      derp_ != nullptr ? FeedDerp(bytes) : FeedNoise(bytes);
      return;
    case State::kAnswering:
    case State::kFlushing:
    case State::kNoiseWaiting:
      Keep(bytes);
      return;
    default:
      return;
  }
}

void FrontConnection::Keep(core::Bytes bytes) {
  if (kept_.size() + bytes.size() > front_.shared_.limits.pipelined_bytes) {
    Close(&front_.stats_.bad_request);
    return;
  }
  kept_ += core::AsText(bytes);
}

// What was kept while a handler or the gate had the connection.
void FrontConnection::ReceiveKept() {
  std::string kept = std::exchange(kept_, {});
  if (kept.empty()) return;
  OnPlaintext({reinterpret_cast<std::uint8_t*>(kept.data()), kept.size()});
}

void FrontConnection::FinishInput() {
  if (state_ == State::kHandOver) {
    TryHandOver();
  } else if (state_ == State::kAnswering || state_ == State::kFlushing ||
             state_ == State::kNoiseWaiting || state_ == State::kDerpAsking) {
    Pause();
  }
}

// After a pause, outside of OnReceive.
void FrontConnection::GoOn() {
  ReceiveKept();
  FinishInput();
  if (state_ == State::kTlsHandshake || state_ == State::kRequest ||
      state_ == State::kNoiseRecord || state_ == State::kDerpLogin) {
    Resume();
  }
}

// --- ordinary requests ---

void FrontConnection::FeedRequest(core::Bytes& bytes) {
  while (state_ == State::kRequest) {
    if (parser_.idle() && !bytes.empty() && request_number_ > 0) {
      SetDeadline(front_.shared_.limits.head, front_.stats_.head_late);
    }
    const auto status = parser_.Feed(bytes);
    if (!status) {
      response_context_ = {false, false, parser_.request().http10, front_.loop_.Wall()};
      Refuse(http::ErrorResponse(status.error()), front_.stats_.bad_request);
      return;
    }
    switch (*status) {
      case http::RequestParser::Status::kNeedMore:
        return;
      case http::RequestParser::Status::kHead:
        OnHead();
        break;
      case http::RequestParser::Status::kComplete:
        Dispatch();
        break;
    }
  }
}

void FrontConnection::OnHead() {
  const http::HttpRequest& request = parser_.request();
  ++request_number_;
  front_.stats_.requests_by_tls[static_cast<std::size_t>(transport_.tls_version())].Add();
  close_after_ = !request.keep_alive || front_.draining_;
  response_context_ = {request.method == "HEAD", !close_after_, request.http10,
                       front_.loop_.Wall()};
  ResolveClient();
  if (!CountSource()) {
    Refuse(http::TextResponse(429, "too many connections from your address"),
           front_.stats_.source_limit);
    return;
  }
  if (request.path == "/ts2021" && front_.noise_public_) {
    StartNoise();
    return;
  }
  if (request.path == "/derp" && front_.options_.derp_paths) {
    StartDerp();
    return;
  }
  parser_.SetBodyLimit(front_.BodyLimit(request));
  if (parser_.has_body()) {
    SetDeadline(front_.shared_.limits.body, front_.stats_.head_late);
    if (parser_.wants_continue()) SendPlain("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

void FrontConnection::ResolveClient() {
  const http::HttpRequest& request = parser_.request();
  const auto forwarded_for = JoinedHeader(request, "x-forwarded-for");
  const auto forwarded_proto = JoinedHeader(request, "x-forwarded-proto");
  core::net::RequestOrigin origin;
  origin.peer = peer_;
  origin.tls = transport_.kind() != core::tls::Transport::Kind::kPlain;
  if (forwarded_for) origin.forwarded_for = *forwarded_for;
  if (forwarded_proto) origin.forwarded_proto = *forwarded_proto;
  origin_ = core::net::ResolveOrigin(front_.options_.trusted_proxies, origin);
  host_ = request.host();
  const std::string_view forwarded_host = request.header("x-forwarded-host");
  if (origin_.proxied && http::IsValidHost(forwarded_host)) host_ = forwarded_host;
}

// Behind a proxy, every request may be of another client.
bool FrontConnection::CountSource() {
  if (!origin_.proxied || counted_source_ == origin_.address.ip) return true;
  if (counted_source_.valid()) front_.shared_.sources.Release(counted_source_);
  counted_source_ = {};
  if (!front_.shared_.sources.Acquire(origin_.address.ip)) return false;
  counted_source_ = origin_.address.ip;
  return true;
}

void FrontConnection::Dispatch() {
  state_ = State::kAnswering;
  front_.stats_.requests.Add();
  const bool ours = front_.options_.derp_paths || !parser_.request().path.starts_with("/derp");
  auto answer = ours ? AnswerBuiltin(parser_.request(), front_.noise_public_) : std::nullopt;
  if (answer) {
    SendResponse(*answer);
    return;
  }
  SetDeadline(front_.shared_.limits.answer, front_.stats_.answer_late);
  FrontRequest request;
  request.http = std::move(parser_.request());
  request.remote = origin_.address;
  request.host = host_;
  request.https = origin_.https;
  request.local = origin_.local;
  front_.handlers_.handle(std::move(request), front_.MakeResponder(*this, request_number_));
}

void FrontConnection::Answer(std::uint64_t request, const core::http::HttpResponse& response) {
  if (state_ != State::kAnswering || request != request_number_) return;
  const auto self = shared_from_this();
  SendResponse(response);
  // Inside the handler's call the bytes that follow are still on the stack.
  if (!reading_ && state_ == State::kRequest) GoOn();
}

void FrontConnection::SendResponse(const http::HttpResponse& response) {
  close_after_ |= response.close || front_.draining_;
  response_context_.keep_alive = !close_after_;
  SendPlain(http::Serialize(response, response_context_));
  if (state_ == State::kEnded) return;
  if (close_after_) {
    End(true);
    return;
  }
  parser_.Reset();
  if (front_.loop_.QueuedBytes(stream_) > kMaxQueued) {
    state_ = State::kFlushing;
    SetDeadline(front_.shared_.limits.answer, front_.stats_.reader_stalled);
  } else {
    state_ = State::kRequest;
    SetDeadline(front_.shared_.limits.keep_alive, front_.stats_.keep_alive_over);
  }
}

void FrontConnection::Refuse(http::HttpResponse response, core::Counter& reason) {
  reason.Add();
  response.close = true;
  state_ = State::kAnswering;
  SendResponse(response);
}

// --- the end ---

void FrontConnection::OnSent(core::engine::StreamId /*stream*/) {
  const auto self = shared_from_this();
  if (state_ == State::kHandOver) {
    TryHandOver();
  } else if (state_ == State::kFlushing) {
    state_ = State::kRequest;
    SetDeadline(front_.shared_.limits.keep_alive, front_.stats_.keep_alive_over);
    GoOn();
  }
}

void FrontConnection::OnClosed(core::engine::StreamId /*stream*/, int /*error*/) {
  const auto self = shared_from_this();
  stream_ = {};
  if (state_ != State::kEnded) End(false);
}

void FrontConnection::Drain() {
  const bool between_requests = state_ == State::kRequest && parser_.idle();
  if (between_requests && request_number_ > 0) Close(nullptr);
}

void FrontConnection::Close(core::Counter* reason) {
  if (state_ == State::kEnded) return;
  const auto self = shared_from_this();
  if (reason != nullptr) reason->Add();
  End(false);
}

void FrontConnection::End(bool flush) {
  if (state_ == State::kEnded) return;
  if (flush) {
    if (std::string close = transport_.SealClose(front_.pool_); !close.empty()) {
      front_.loop_.Send(stream_, std::move(close));
    }
    front_.loop_.CloseAfterFlush(stream_);
  } else {
    front_.loop_.Close(stream_);
  }
  LeaveFront();
}

void FrontConnection::LeaveFront() {
  stream_ = {};
  state_ = State::kEnded;
  front_.loop_.CancelTimer(deadline_);
  if (counted_source_.valid()) front_.shared_.sources.Release(counted_source_);
  counted_source_ = {};
  front_.Remove(*this);
}

void FrontConnection::SendPlain(std::string_view bytes) {
  const std::array<std::string_view, 1> pieces{bytes};
  std::string wire;
  if (!transport_.Seal(front_.pool_, pieces, wire)) {
    Close(&front_.stats_.tls_failed);
    return;
  }
  front_.loop_.Send(stream_, std::move(wire));
}

void FrontConnection::Pause() {
  if (std::exchange(paused_, true)) return;
  front_.loop_.PauseReceive(stream_);
}

void FrontConnection::Resume() {
  if (!std::exchange(paused_, false)) return;
  front_.loop_.ResumeReceive(stream_);
}

}  // namespace ringscale::serverd
