#include "tools/serverd/take_over.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <utility>

#include "core/json/reader.h"
#include "core/json/writer.h"
#include "core/net/descriptor_passing.h"
#include "core/net/listener.h"
#include "core/net/unix_listener.h"
#include "core/obs/log.h"

namespace ringscale::serverd {
namespace {

using core::LogInfo;
using core::LogWarn;

constexpr std::size_t kMaxAnswer = 64 * 1024;
constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};
constexpr std::string_view kSwitching =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ringscale-sockets\r\n\r\n";
constexpr std::string_view kRefusal =
    "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    "another process is taking over this server already\n";
constexpr std::string_view kStop = "stop\n";

std::string Manifest(const std::vector<HandOver::Socket>& sockets) {
  std::string text;
  core::json::Writer json(text);
  json.BeginObject().Key("sockets").BeginArray();
  for (const auto& socket : sockets) {
    json.BeginObject()
        .Field("use", TextOf(socket.label.use))
        .Field("address", socket.label.address)
        .Field("keepFile", socket.label.keep_file)
        .EndObject();
  }
  json.EndArray().EndObject();
  return text + "\n";
}

core::Error Nonsense() {
  return {core::ErrorCode::kInvalid, "the running server's answer makes no sense"};
}

core::Result<std::vector<GivenSocket>> ReadManifest(std::string_view text,
                                                    std::vector<core::Fd> descriptors) {
  using Kind = core::net::InheritedSocket::Kind;
  core::json::Parser parser;
  const auto root = parser.Parse(text);
  if (!root || !(*root)["sockets"].is_array() || (*root)["sockets"].size() != descriptors.size()) {
    return std::unexpected(Nonsense());
  }
  std::vector<GivenSocket> sockets;
  core::Result<> result;
  (*root)["sockets"].Elements([&](core::json::Value entry) {
    const auto use = SocketUseOf(entry["use"].AsString().value_or(""));
    auto socket = core::net::AdoptSocket(std::move(descriptors[sockets.size()]), "");
    if (!socket) {
      result = core::Forward(socket);
      return false;
    }
    const Kind kind = use == SocketUse::kStun       ? Kind::kUdp
                      : use == SocketUse::kCommands ? Kind::kUnixListener
                                                    : Kind::kTcpListener;
    if (!use || socket->kind != kind) {
      result = std::unexpected(Nonsense());
      return false;
    }
    sockets.push_back({.label = {.use = *use,
                                 .address = std::string(entry["address"].AsString().value_or("")),
                                 .keep_file = entry["keepFile"].AsBool().value_or(false)},
                       .fd = std::move(socket->fd)});
    return true;
  });
  if (!result) return core::Forward(result);
  return sockets;
}

// What an HTTP answer other than the wanted one says.
std::string Complaint(const std::string& answer) {
  const auto body = answer.find("\r\n\r\n");
  const std::string status = answer.substr(0, answer.find("\r\n"));
  return body == std::string::npos || body + 4 == answer.size() ? status : answer.substr(body + 4);
}

}  // namespace

core::Result<std::optional<TakeOver>> TakeOver::Ask(const std::string& socket_path) {
  auto connection = core::net::ConnectUnix(socket_path);
  if (!connection) {
    using core::ErrorCode;
    const ErrorCode code = connection.error().code;
    if (code == ErrorCode::kNotFound || code == ErrorCode::kUnavailable) return std::nullopt;
    return core::Forward(connection);
  }
  const int fd = connection->get();
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  const std::string request = std::string("POST ") + kTakeOverPath +
                              " HTTP/1.1\r\nHost: local\r\nContent-Length: 0\r\n\r\n";
  if (auto sent = core::net::SendWithDescriptors(fd, request, {}); !sent)
    return core::Forward(sent);

  std::string answer;
  std::vector<core::Fd> descriptors;
  const auto complete = [&] {
    return answer.starts_with(kSwitching) && answer.find('\n', kSwitching.size()) != answer.npos;
  };
  while (!complete()) {
    auto piece = core::net::ReceiveWithDescriptors(fd, kMaxAnswer, descriptors);
    if (!piece) return core::Forward(piece);
    answer += *piece;
    const bool refused = answer.size() >= kSwitching.size() && !answer.starts_with(kSwitching);
    if (piece->empty() || refused || answer.size() > kMaxAnswer) {
      return core::Fail(core::ErrorCode::kConflict,
                        "the running server does not hand over its sockets: " + Complaint(answer));
    }
  }
  auto sockets =
      ReadManifest(std::string_view(answer).substr(kSwitching.size()), std::move(descriptors));
  if (!sockets) return core::Forward(sockets);
  return TakeOver(std::move(*connection), std::move(*sockets));
}

core::Result<> TakeOver::TellToStop() {
  return core::net::SendWithDescriptors(connection_.get(), kStop, {});
}

HandOver::HandOver(core::engine::Loop& loop, std::function<std::vector<Socket>()> sockets,
                   std::function<void()> stop)
    : loop_(loop), sockets_(std::move(sockets)), stop_(std::move(stop)) {}

std::vector<HandOver::Socket> HandOver::ListOf(const ServerSockets& sockets, int commands,
                                               const std::string& commands_path) {
  std::vector<Socket> list;
  const auto add = [&](SocketUse use, const ServerSockets::Listening& socket) {
    list.push_back({.label = {.use = use, .address = socket.address}, .fd = socket.fd.get()});
  };
  for (const auto& socket : sockets.clients) add(SocketUse::kClients, socket);
  for (const auto& socket : sockets.stun) add(SocketUse::kStun, socket);
  if (sockets.metrics) add(SocketUse::kMetrics, *sockets.metrics);
  if (sockets.http) add(SocketUse::kHttp, *sockets.http);
  list.push_back({.label = {.use = SocketUse::kCommands,
                            .address = commands_path,
                            .keep_file = sockets.commands_keep_file},
                  .fd = commands});
  return list;
}

HandOver::~HandOver() {
  if (stream_.value != 0) loop_.Close(stream_);
}

void HandOver::Begin(core::Fd connection) {
  if (stream_.value != 0) {
    (void)core::net::SendWithDescriptors(connection.get(), kRefusal, {});
    return;
  }
  const std::vector<Socket> sockets = sockets_();
  std::vector<int> descriptors;
  for (const Socket& socket : sockets) descriptors.push_back(socket.fd);
  const auto sent = core::net::SendWithDescriptors(
      connection.get(), std::string(kSwitching) + Manifest(sockets), descriptors);
  if (!sent) {
    LogWarn("serve", "the sockets could not be handed over", {{"error", sent.error().message}});
    return;
  }
  LogInfo("serve", "sockets passed to a new process", {{"count", sockets.size()}});
  received_.clear();
  stream_ = loop_.Attach(std::move(connection), *this);
}

void HandOver::OnReceive(core::engine::StreamId, core::MutableBytes bytes) {
  if (complete_) return;
  received_ += core::AsText(bytes);
  if (received_.size() < kStop.size()) return;
  if (received_ != kStop) {
    loop_.Close(std::exchange(stream_, {}));
    return;
  }
  complete_ = true;
  LogInfo("serve", "a new process takes over");
  stop_();
}

void HandOver::EndCommands(AdminSocket& commands) const {
  auto listener = commands.StopAccepting();
  if (listener && complete_) listener->KeepFile();
}

void HandOver::OnClosed(core::engine::StreamId, int) {
  stream_ = {};
  if (!complete_) LogWarn("serve", "the new process did not take over");
}

}  // namespace ringscale::serverd
