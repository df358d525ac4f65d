#include "bench/lib/control_node.h"

#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/base64.h"
#include "core/base/bytes.h"
#include "core/base/random.h"

namespace ringscale::bench {
namespace {

constexpr std::string_view kEarlyMagic{"\xff\xff\xffTS", 5};
constexpr std::size_t kEarlyHeader = kEarlyMagic.size() + 4;  // and a length

template <class Key>
Key RandomKey() {
  Key key;
  core::SecureRandom(key.raw);
  return key;
}

}  // namespace

NodeIdentity NodeIdentity::Generate(std::size_t index) {
  NodeIdentity identity{.machine = core::PrivateKey::Generate()};
  identity.node_key = RandomKey<core::NodePublic>();
  identity.disco_key = RandomKey<core::DiscoPublic>();
  identity.hostname = fmt::format("bench-{}", index);
  identity.port = static_cast<std::uint16_t>(20000 + index % 20000);
  return identity;
}

// One request and what becomes of its answer.
struct ControlNode::Exchange {
  std::int32_t stream = 0;
  std::string body;
  std::size_t sent = 0;
  int status = 0;
  std::string answer_body;
  Answer answer;
  bool is_map_stream = false;
};

// nghttp2 calls back by C function pointers; these find the exchange by stream.
class ControlNode::Callbacks {
 public:
  static Exchange* Find(void* user, std::int32_t stream) {
    auto* node = static_cast<ControlNode*>(user);
    for (auto& exchange : node->exchanges_) {
      if (exchange->stream == stream) return exchange.get();
    }
    return nullptr;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_length, const std::uint8_t* value, std::size_t value_length,
                      std::uint8_t, void* user) {
    const std::string_view key(reinterpret_cast<const char*>(name), name_length);
    if (key == ":status") {
      if (auto* exchange = Find(user, frame->hd.stream_id)) {
        exchange->status =
            std::atoi(std::string(reinterpret_cast<const char*>(value), value_length).c_str());
      }
    }
    return 0;
  }

  static int OnData(nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data,
                    std::size_t length, void* user) {
    auto* exchange = Find(user, stream);
    if (exchange == nullptr) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data), length);
    if (exchange->is_map_stream && exchange->status == 200) {
      auto* node = static_cast<ControlNode*>(user);
      const Events& events = node->events_;
      node->map_messages_.Feed(
          bytes,
          [&](std::size_t size) { return !events.wants_message || events.wants_message(size); },
          [&](std::size_t size, std::string_view message) {
            if (message.size() == size) {
              events.map_message(message);
            } else {
              events.skipped_message(size);
            }
          });
    } else if (exchange->answer_body.size() < 65536) {
      exchange->answer_body += bytes;
    }
    return 0;
  }

  static int OnStreamClose(nghttp2_session*, std::int32_t stream, std::uint32_t, void* user) {
    auto* node = static_cast<ControlNode*>(user);
    auto at = std::find_if(node->exchanges_.begin(), node->exchanges_.end(),
                           [stream](const auto& e) { return e->stream == stream; });
    if (at == node->exchanges_.end()) return 0;
    node->finished_.push_back(std::move(*at));
    node->exchanges_.erase(at);
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session*, std::int32_t, std::uint8_t* out, std::size_t length,
                          std::uint32_t* flags, nghttp2_data_source* source, void*) {
    auto* exchange = static_cast<Exchange*>(source->ptr);
    const std::size_t n = std::min(length, exchange->body.size() - exchange->sent);
    std::copy_n(exchange->body.data() + exchange->sent, n, out);
    exchange->sent += n;
    if (exchange->sent == exchange->body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }
};

ControlNode::ControlNode(core::engine::Loop& loop, const ControlTarget& target,
                         NodeIdentity identity, Events events)
    : loop_(loop), target_(target), identity_(std::move(identity)), events_(std::move(events)) {}

ControlNode::~ControlNode() {
  Disconnect();
}

void ControlNode::Connect() {
  Disconnect();
  last_error_.clear();
  auto fd = OpenSocket(target_.address, SocketMode::kNonBlocking);
  if (!fd) {
    Fail(fd.error().message);
    return;
  }
  if (target_.tls != nullptr) {
    auto handshake = core::tls::StartClientHandshake(target_.tls, target_.server_name);
    if (!handshake) {
      Fail(handshake.error().message);
      return;
    }
    handshake_ = std::move(*handshake);
  }
  std::array<std::uint8_t, 32> machine{};
  std::memcpy(machine.data(), identity_.machine.raw(), machine.size());
  initiator_.emplace(core::PrivateKey::FromRaw(machine), target_.server_key,
                     target_.capability_version);
  stream_ = loop_.Attach(std::move(*fd), *this);
  if (handshake_ == nullptr) {
    SendUpgrade();
  } else if (auto hello = FeedTls({}); !hello) {
    Fail(hello.error().message);
  }
}

void ControlNode::Disconnect() {
  ++connection_;
  if (stream_.value != 0) loop_.Close(std::exchange(stream_, {}));
  if (http2_ != nullptr) nghttp2_session_del(std::exchange(http2_, nullptr));
  handshake_.reset();
  transport_ = core::tls::Transport::Plain();
  initiator_.reset();
  session_.reset();
  exchanges_.clear();
  finished_.clear();
  head_.clear();
  early_.clear();
  early_done_ = false;
  connected_told_ = false;
  map_messages_.Reset();
}

void ControlNode::Fail(std::string what) {
  const bool was_up = connected_told_;
  // Those who wait for an answer hear that there is none.
  auto unanswered = std::exchange(exchanges_, {});
  Disconnect();
  last_error_ = std::move(what);
  const std::uint64_t connection = connection_;
  for (const auto& exchange : unanswered) {
    if (exchange->answer && connection_ == connection) exchange->answer(0, {});
  }
  if (connection_ != connection) return;
  if (was_up) {
    events_.closed();
  } else {
    events_.connected(core::Fail(core::ErrorCode::kClosed, last_error_));
  }
}

// --- input ---

void ControlNode::OnReceive(core::engine::StreamId, core::MutableBytes bytes) {
  bytes_received_ += bytes.size();
  in_receive_ = true;
  const auto result = Receive(bytes);
  in_receive_ = false;
  if (!result) {
    Fail(result.error().message);
    return;
  }
  Deliver();
}

void ControlNode::OnClosed(core::engine::StreamId, int error) {
  stream_ = {};
  Fail(error == 0 ? "the server closed the connection" : std::strerror(-error));
}

core::Result<> ControlNode::Receive(core::MutableBytes bytes) {
  if (handshake_ != nullptr) return FeedTls(bytes);
  core::Result<> inner;
  const auto sink = [&](core::MutableBytes plaintext) {
    if (inner) inner = FeedPlaintext(plaintext);
  };
  if (transport_.kind() == core::tls::Transport::Kind::kPlain) {
    sink(bytes);
    return inner;
  }
  auto opened = transport_.Receive(*target_.pool, bytes, sink);
  return inner ? opened : inner;
}

core::Result<> ControlNode::FeedTls(core::Bytes bytes) {
  const auto status = handshake_->Feed(bytes);
  if (std::string output = handshake_->TakeOutput(); !output.empty()) {
    loop_.Send(stream_, std::move(output));
  }
  if (!status) return core::Fail(status.error().code, "TLS: " + status.error().message);
  if (*status == core::tls::ClientHandshake::Status::kNeedMore) return {};
  auto transport = handshake_->Finish();
  if (!transport) return core::Forward(transport);
  handshake_.reset();
  transport_ = std::move(*transport);
  SendUpgrade();
  return Receive({});  // what came behind the handshake
}

core::Result<> ControlNode::FeedPlaintext(core::MutableBytes bytes) {
  if (!session_) return FeedHead(core::AsText(bytes));
  std::string plaintext;
  if (auto opened = session_->Receive(bytes, plaintext); !opened) return opened;
  return FeedHttp2(plaintext);
}

core::Result<> ControlNode::FeedHead(std::string_view bytes) {
  head_ += bytes;
  const auto end = head_.find("\r\n\r\n");
  if (end == std::string::npos) return {};
  if (!head_.starts_with("HTTP/1.1 101 ")) {
    return core::Fail(core::ErrorCode::kUnavailable,
                      "the server answered " + head_.substr(0, head_.find('\r')));
  }
  const std::string_view rest = std::string_view(head_).substr(end + 4);
  if (rest.size() < control::noise::kResponseSize) return {};
  auto session = initiator_->Finish(core::AsBytes(rest.substr(0, control::noise::kResponseSize)));
  if (!session) return core::Forward(session);
  session_.emplace(std::move(*session));
  initiator_.reset();
  if (auto started = StartHttp2(); !started) return started;
  std::string plaintext;
  auto opened =
      session_->Receive(core::AsBytes(rest.substr(control::noise::kResponseSize)), plaintext);
  std::string().swap(head_);
  if (!opened) return opened;
  return FeedHttp2(plaintext);
}

core::Result<> ControlNode::StartHttp2() {
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) {
    return core::Fail(core::ErrorCode::kLimit, "HTTP/2: out of memory");
  }
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::OnStreamClose);
  nghttp2_session_client_new(&http2_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  // The windows that the official client opens (Go's HTTP/2 transport).
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 4 << 20}};
  nghttp2_submit_settings(http2_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(http2_, NGHTTP2_FLAG_NONE, 0, 1 << 30);
  return {};
}

core::Result<> ControlNode::FeedHttp2(std::string_view plaintext) {
  if (!early_done_) {
    early_ += plaintext;
    if (early_.size() < kEarlyHeader) return {};
    if (early_.starts_with(kEarlyMagic)) {
      const std::size_t length = core::LoadBe32(core::AsBytes(early_).data() + kEarlyMagic.size());
      if (early_.size() < kEarlyHeader + length) return {};
      early_.erase(0, kEarlyHeader + length);
    }
    early_done_ = true;
    const std::string rest = std::exchange(early_, {});
    return FeedHttp2(rest);
  }
  if (plaintext.empty()) return {};
  const auto taken =
      nghttp2_session_mem_recv(http2_, core::AsBytes(plaintext).data(), plaintext.size());
  if (taken >= 0) return {};
  return core::Fail(core::ErrorCode::kInvalid,
                    std::string("HTTP/2: ") + nghttp2_strerror(static_cast<int>(taken)));
}

// Tells what has happened, now that no session is on the stack: each call may
// start requests, disconnect or connect anew.
void ControlNode::Deliver() {
  const std::uint64_t connection = connection_;
  if (http2_ != nullptr && !connected_told_) {
    connected_told_ = true;
    events_.connected({});
  }
  while (connection_ == connection && !finished_.empty()) {
    const std::unique_ptr<Exchange> exchange = std::move(finished_.front());
    finished_.erase(finished_.begin());
    if (exchange->is_map_stream) {
      Fail(fmt::format("the server ended the map stream (status {}) {}", exchange->status,
                       exchange->answer_body.substr(0, 200)));
      return;
    }
    exchange->answer(exchange->status, exchange->answer_body);
  }
  if (connection_ == connection) Flush();
}

// --- output ---

void ControlNode::SendUpgrade() {
  SendWire(
      fmt::format("POST /ts2021 HTTP/1.1\r\nHost: {}\r\nUpgrade: "
                  "tailscale-control-protocol\r\nConnection: upgrade\r\n"
                  "X-Tailscale-Handshake: {}\r\nContent-Length: 0\r\n\r\n",
                  target_.host, core::Base64Encode(core::Bytes(initiator_->initiation()))));
}

void ControlNode::SendWire(std::string plaintext) {
  if (transport_.kind() == core::tls::Transport::Kind::kPlain) {
    loop_.Send(stream_, std::move(plaintext));
    return;
  }
  std::string wire = transport_.TakeControlOutput();
  const std::string_view pieces[] = {plaintext};
  if (transport_.Seal(*target_.pool, pieces, wire)) loop_.Send(stream_, std::move(wire));
}

void ControlNode::Flush() {
  if (http2_ == nullptr || in_receive_) return;
  std::string wire;
  while (true) {
    const std::uint8_t* data = nullptr;
    const auto n = nghttp2_session_mem_send(http2_, &data);
    if (n <= 0) break;
    const std::string_view piece(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    if (!session_->Seal({&piece, 1}, wire)) break;
  }
  if (!wire.empty()) SendWire(std::move(wire));
}

void ControlNode::Post(std::string_view path, std::string body,
                       std::unique_ptr<Exchange> exchange) {
  if (http2_ == nullptr) return;
  exchange->body = std::move(body);
  auto field = [](std::string_view name, std::string_view value) {
    return nghttp2_nv{reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
                      value.size(), NGHTTP2_NV_FLAG_NONE};
  };
  const nghttp2_nv headers[] = {field(":method", "POST"), field(":scheme", "https"),
                                field(":authority", target_.host), field(":path", path)};
  nghttp2_data_provider provider{.source = {.ptr = exchange.get()},
                                 .read_callback = &Callbacks::ReadBody};
  exchange->stream =
      nghttp2_submit_request(http2_, nullptr, headers, std::size(headers), &provider, nullptr);
  exchanges_.push_back(std::move(exchange));
  Flush();
}

void ControlNode::Register(std::string_view auth_key, Answer answer) {
  auto exchange = std::make_unique<Exchange>();
  exchange->answer = std::move(answer);
  Post("/machine/register",
       fmt::format(R"({{"Version":{},"NodeKey":"{}","OldNodeKey":"{}","NLKey":"nlpub:{:064x}",)"
                   R"("Auth":{{"AuthKey":"{}"}},"Expiry":"0001-01-01T00:00:00Z","Followup":"",)"
                   R"("Hostinfo":{{"IPNVersion":"1.102.5","BackendLogID":"{:064x}","OS":"linux",)"
                   R"("OSVersion":"6.1.0","Hostname":"{}","GoArch":"amd64","Services":[)"
                   R"({{"Proto":"peerapi4","Port":41234}},{{"Proto":"peerapi6","Port":41234}}]}},)"
                   R"("NodeKeySignature":null}})",
                   target_.capability_version, identity_.node_key.text(), core::NodePublic{}.text(),
                   1, auth_key, 2, identity_.hostname),
       std::move(exchange));
}

std::string ControlNode::MapRequestBody(bool stream, std::uint16_t endpoint_port) const {
  return fmt::format(
      R"({{"Version":{},"Compress":"zstd","KeepAlive":true,"NodeKey":"{}","DiscoKey":"{}",)"
      R"("Hostinfo":{{"IPNVersion":"1.102.5","BackendLogID":"{:064x}","OS":"linux",)"
      R"("OSVersion":"6.1.0","Hostname":"{}","GoArch":"amd64","Services":[)"
      R"({{"Proto":"peerapi4","Port":41234}},{{"Proto":"peerapi6","Port":41234}}],)"
      R"("NetInfo":{{"WorkingUDP":true,"PreferredDERP":999}}}},)"
      R"("Endpoints":["192.0.2.1:{}"],"EndpointTypes":[1],{}}})",
      target_.capability_version, identity_.node_key.text(), identity_.disco_key.text(), 2,
      identity_.hostname, endpoint_port, stream ? R"("Stream":true)" : R"("OmitPeers":true)");
}

void ControlNode::Poll() {
  auto exchange = std::make_unique<Exchange>();
  exchange->is_map_stream = true;
  Post("/machine/map", MapRequestBody(true, identity_.port), std::move(exchange));
}

void ControlNode::Update(std::uint16_t endpoint_port, Answer answer) {
  identity_.port = endpoint_port;
  auto exchange = std::make_unique<Exchange>();
  exchange->answer = std::move(answer);
  Post("/machine/map", MapRequestBody(false, endpoint_port), std::move(exchange));
}

}  // namespace ringscale::bench
