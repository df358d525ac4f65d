#include "bench/lib/control_node.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sodium.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/base64.h"
#include "core/base/bytes.h"

namespace ringscale::bench {
namespace {

constexpr std::string_view kEarlyMagic{"\xff\xff\xffTS", 5};

// A connected or connecting TCP socket; loopback connects at once.
core::Result<core::Fd> OpenSocket(const core::SocketAddress& address, int type_flags) {
  const int family = address.ip.is_v4() ? AF_INET : AF_INET6;
  core::Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0));
  if (!fd.valid()) return core::FailErrno("socket", errno);
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, family == AF_INET6);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&native), length) != 0 &&
      errno != EINPROGRESS) {
    return core::FailErrno("connect " + address.text(), errno);
  }
  return fd;
}

std::string RandomKey() {
  std::string raw(32, '\0');
  randombytes_buf(raw.data(), raw.size());
  return raw;
}

}  // namespace

core::Result<core::MachinePublic> FetchServerKey(const core::SocketAddress& address,
                                                 const std::string& host) {
  auto fd = OpenSocket(address, 0);
  if (!fd) return core::Forward(fd);
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const std::string request =
      fmt::format("GET /key?v=142 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host);
  if (send(fd->get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return core::FailErrno("send to " + address.text(), errno);
  }
  std::string answer;
  char piece[2048];
  ssize_t n = 0;
  while ((n = recv(fd->get(), piece, sizeof piece, 0)) > 0) {
    answer.append(piece, static_cast<std::size_t>(n));
    if (answer.size() > 65536) break;
  }
  constexpr std::string_view kMember = "\"publicKey\":\"";
  const auto at = answer.find(kMember);
  if (at != std::string::npos) {
    const auto key =
        core::MachinePublic::Parse(std::string_view(answer).substr(at + kMember.size(), 5 + 64));
    if (key) return *key;
  }
  return core::Fail(core::ErrorCode::kInvalid,
                    "http://" + host + "/key did not answer as a control server does");
}

NodeIdentity NodeIdentity::Generate(std::size_t index) {
  NodeIdentity identity{.machine = core::PrivateKey::Generate()};
  std::string raw = RandomKey();
  std::memcpy(identity.node_key.raw.data(), raw.data(), raw.size());
  raw = RandomKey();
  std::memcpy(identity.disco_key.raw.data(), raw.data(), raw.size());
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
      static_cast<ControlNode*>(user)->OnMapBytes(bytes);
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
    const std::unique_ptr<Exchange> exchange = std::move(*at);
    node->exchanges_.erase(at);
    if (exchange->answer) exchange->answer(exchange->status, exchange->answer_body);
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session*, std::int32_t, std::uint8_t* out, std::size_t length,
                          std::uint32_t* flags, nghttp2_data_source* source, void*) {
    auto* exchange = static_cast<Exchange*>(source->ptr);
    const std::size_t n = std::min(length, exchange->body.size() - exchange->sent);
    std::memcpy(out, exchange->body.data() + exchange->sent, n);
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
  auto fd = OpenSocket(target_.address, SOCK_NONBLOCK);
  if (!fd) {
    events_.connected(core::Forward(fd));
    return;
  }
  std::array<std::uint8_t, 32> machine{};
  std::memcpy(machine.data(), identity_.machine.raw(), machine.size());
  initiator_.emplace(core::PrivateKey::FromRaw(machine), target_.server_key,
                     target_.capability_version);
  stream_ = loop_.Attach(std::move(*fd), *this);
  loop_.Send(stream_,
             fmt::format("POST /ts2021 HTTP/1.1\r\nHost: {}\r\nUpgrade: "
                         "tailscale-control-protocol\r\nConnection: upgrade\r\n"
                         "X-Tailscale-Handshake: {}\r\nContent-Length: 0\r\n\r\n",
                         target_.host, core::Base64Encode(core::Bytes(initiator_->initiation()))));
}

void ControlNode::Disconnect() {
  if (stream_.value != 0) loop_.Close(std::exchange(stream_, {}));
  if (http2_ != nullptr) nghttp2_session_del(std::exchange(http2_, nullptr));
  initiator_.reset();
  session_.reset();
  exchanges_.clear();
  head_.clear();
  early_.clear();
  early_done_ = false;
  partial_map_.clear();
}

void ControlNode::Fail(std::string what) {
  const bool was_up = session_.has_value();
  Disconnect();
  if (!was_up) {
    events_.connected(core::Fail(core::ErrorCode::kClosed, std::move(what)));
  } else {
    events_.closed();
  }
}

void ControlNode::OnReceive(core::engine::StreamId, core::MutableBytes bytes) {
  bytes_received_ += bytes.size();
  if (!session_) {
    OnHead(core::AsText(bytes));
    return;
  }
  std::string plaintext;
  if (!session_->Receive(bytes, plaintext)) {
    Fail("a record of the server does not open");
    return;
  }
  FeedHttp2(plaintext);
  Flush();
}

void ControlNode::OnClosed(core::engine::StreamId, int error) {
  stream_ = {};
  Fail(error == 0 ? "the server closed the connection" : std::strerror(-error));
}

void ControlNode::OnHead(std::string_view bytes) {
  head_ += bytes;
  const auto end = head_.find("\r\n\r\n");
  if (end == std::string::npos) return;
  if (!head_.starts_with("HTTP/1.1 101 ")) {
    Fail("the server answered " + head_.substr(0, head_.find('\r')));
    return;
  }
  const std::string_view rest = std::string_view(head_).substr(end + 4);
  if (rest.size() < control::noise::kResponseSize) return;
  auto session = initiator_->Finish(core::AsBytes(rest.substr(0, control::noise::kResponseSize)));
  if (!session) {
    Fail(session.error().message);
    return;
  }
  session_.emplace(std::move(*session));
  initiator_.reset();
  const std::string records(rest.substr(control::noise::kResponseSize));
  head_.clear();
  StartHttp2(core::AsBytes(records));
}

void ControlNode::StartHttp2(core::Bytes rest) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::OnStreamClose);
  nghttp2_session_client_new(&http2_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  // The windows that the official client opens (Go's HTTP/2 transport).
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 4 << 20}};
  nghttp2_submit_settings(http2_, NGHTTP2_FLAG_NONE, settings, 2);
  nghttp2_session_set_local_window_size(http2_, NGHTTP2_FLAG_NONE, 0, 1 << 30);
  Flush();
  std::string plaintext;
  if (!session_->Receive(rest, plaintext)) {
    Fail("a record of the server does not open");
    return;
  }
  FeedHttp2(plaintext);
  if (session_) events_.connected({});
  Flush();
}

void ControlNode::FeedHttp2(std::string_view plaintext) {
  if (!early_done_) {
    early_ += plaintext;
    if (early_.size() < 9) return;
    if (early_.starts_with(kEarlyMagic)) {
      const std::size_t length =
          core::LoadBe32(reinterpret_cast<const std::uint8_t*>(early_.data()) + 5);
      if (early_.size() < 9 + length) return;
      early_.erase(0, 9 + length);
    }
    early_done_ = true;
    const std::string rest = std::exchange(early_, {});
    FeedHttp2(rest);
    return;
  }
  if (plaintext.empty() || http2_ == nullptr) return;
  feeding_ = true;
  const auto taken = nghttp2_session_mem_recv(
      http2_, reinterpret_cast<const std::uint8_t*>(plaintext.data()), plaintext.size());
  feeding_ = false;
  if (taken < 0) Fail(std::string("HTTP/2: ") + nghttp2_strerror(static_cast<int>(taken)));
}

void ControlNode::Flush() {
  // nghttp2 must not be asked for output from inside its callbacks; whoever feeds
  // it flushes afterwards.
  if (http2_ == nullptr || !session_ || feeding_) return;
  std::string wire;
  while (true) {
    const std::uint8_t* data = nullptr;
    const auto n = nghttp2_session_mem_send(http2_, &data);
    if (n <= 0) break;
    const std::string_view piece(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    if (!session_->Seal({&piece, 1}, wire)) break;
  }
  if (!wire.empty()) loop_.Send(stream_, std::move(wire));
}

void ControlNode::Post(std::string path, std::string body, std::unique_ptr<Exchange> exchange) {
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
  exchange->answer = [this](int, std::string_view) {
    if (events_.closed) events_.closed();
  };
  Post("/machine/map", MapRequestBody(true, identity_.port), std::move(exchange));
}

void ControlNode::Update(std::uint16_t endpoint_port, Answer answer) {
  identity_.port = endpoint_port;
  auto exchange = std::make_unique<Exchange>();
  exchange->answer = std::move(answer);
  Post("/machine/map", MapRequestBody(false, endpoint_port), std::move(exchange));
}

void ControlNode::OnMapBytes(std::string_view bytes) {
  auto deliver = [this](std::string_view pending) {
    std::size_t used = 0;
    while (pending.size() - used >= 4) {
      const std::size_t length =
          core::LoadLe32(reinterpret_cast<const std::uint8_t*>(pending.data()) + used);
      if (pending.size() - used - 4 < length) break;
      events_.map_message(pending.substr(used + 4, length));
      used += 4 + length;
    }
    return used;
  };
  // Whole messages that arrive in one piece are passed on without a copy.
  if (partial_map_.empty()) {
    partial_map_ = bytes.substr(deliver(bytes));
    return;
  }
  partial_map_ += bytes;
  const std::size_t used = deliver(partial_map_);
  if (used > 0) partial_map_.erase(0, used);
}

}  // namespace ringscale::bench
