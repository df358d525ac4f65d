#include "tools/relayd/mesh_dialer.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/hex.h"
#include "core/engine/topology.h"
#include "core/net/socket_options.h"
#include "core/obs/log.h"
#include "core/tls/client.h"
#include "relay/login/client_login.h"
#include "tools/serverd/dialled.h"

namespace ringscale::relayd {
namespace {

using core::LogInfo;
using core::LogWarn;

std::string Authority(const HostPort& host) {
  const bool v6 = host.host.find(':') != std::string::npos;
  const std::string name = v6 ? "[" + host.host + "]" : host.host;
  return host.port == 443 ? name : name + ":" + std::to_string(host.port);
}

}  // namespace

struct MeshDialer::Shared {
  struct Peer {
    MeshPeer peer;
    std::thread thread;
    std::string state = "connecting";
    bool connected = false;
  };

  explicit Shared(Options given) : options(std::move(given)) {
    for (const MeshPeer& peer : options.peers) {
      peers.push_back(std::make_unique<Peer>());
      peers.back()->peer = peer;
    }
  }

  void Run(std::uint8_t link);
  // nullopt: the other end is ourselves.
  core::Result<std::optional<relay::LoggedInClient>> Dial(std::uint8_t link);
  void SetState(Peer& peer, std::string state) {
    const std::lock_guard lock(mutex);
    peer.state = std::move(state);
  }

  const Options options;
  std::function<void(relay::LoggedInClient)> take;
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  std::vector<std::unique_ptr<Peer>> peers;
};

core::Result<std::optional<relay::LoggedInClient>> MeshDialer::Shared::Dial(std::uint8_t link) {
  const MeshPeer& peer = peers[link]->peer;
  auto context = core::tls::MakeClientContext({});
  if (!context) return core::Forward(context);
  auto socket = serverd::Dialled::Connect(peer.dial.host, peer.dial.port,
                                          core::MonotonicNow() + options.patience);
  if (!socket) return core::Forward(socket);
  core::tls::AeadPool pool;
  relay::ClientLoginOptions login_options{
      .host = Authority(peer.host), .server_name = peer.host.host, .watch = true};
  login_options.client_info =
      R"({"meshKey":")" + core::HexEncode(options.mesh_key) + R"(","version":2})";
  relay::ClientLogin login(std::move(login_options), *context, *options.server_key, pool);
  std::string received;
  while (true) {
    auto status = login.Feed({reinterpret_cast<std::uint8_t*>(received.data()), received.size()});
    if (auto sent = socket->Write(login.TakeOutput()); !sent) return core::Forward(sent);
    if (!status) return core::Forward(status);
    if (*status == relay::ClientLogin::Status::kDone) break;
    auto bytes = socket->Read();
    if (!bytes) return core::Forward(bytes);
    if (bytes->empty()) {
      return core::Fail(core::ErrorCode::kClosed, "closed during the login");
    }
    received = std::move(*bytes);
  }
  if (login.server_key() == options.server_key->PublicAs<core::NodePublic>()) return std::nullopt;
  auto established = login.Take();
  relay::LoggedInClient client;
  client.key = login.server_key();
  client.remote = core::net::PeerAddress(socket->fd());
  client.fd = socket->TakeFd();
  client.tls = std::move(established.tls);
  client.ciphertext = std::move(established.ciphertext);
  client.plaintext = std::move(established.plaintext);
  client.mesh_link = link;
  return client;
}

void MeshDialer::Shared::Run(std::uint8_t link) {
  core::engine::SetThreadName("mesh-" + std::to_string(link));
  Peer& peer = *peers[link];
  const std::string host = Authority(peer.peer.host);
  std::string last;
  while (true) {
    auto made = Dial(link);
    if (made && !*made) {
      LogInfo("mesh", "this entry is this relay itself", {{"host", host}});
      return SetState(peer, "this relay");
    }
    if (made) {
      last.clear();
      LogInfo("mesh", "connected", {{"host", host}, {"key", (*made)->key.text()}});
      {
        const std::lock_guard lock(mutex);
        if (stop) return;
        peer.state = "connected";
        peer.connected = true;
      }
      take(std::move(**made));
    } else {
      // Said once, not every few seconds.
      if (last != made.error().message) {
        last = made.error().message;
        LogWarn("mesh", "no link", {{"host", host}, {"error", last}});
      }
      SetState(peer, last);
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return stop || !peer.connected; });
    if (made && !stop) LogWarn("mesh", "the link has ended", {{"host", host}});
    changed.wait_for(lock, std::chrono::nanoseconds(options.retry.ns), [&] { return stop; });
    if (stop) return;
    if (made) peer.state = "connecting";
  }
}

MeshDialer::MeshDialer(Options options) : shared_(std::make_unique<Shared>(std::move(options))) {}

MeshDialer::~MeshDialer() {
  Stop();
}

void MeshDialer::Start(std::function<void(relay::LoggedInClient)> take) {
  shared_->take = std::move(take);
  for (std::size_t i = 0; i < shared_->peers.size(); ++i) {
    shared_->peers[i]->thread =
        std::thread([shared = shared_.get(), i] { shared->Run(static_cast<std::uint8_t>(i)); });
  }
}

void MeshDialer::Stop() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->changed.notify_all();
  for (auto& peer : shared_->peers) {
    if (peer->thread.joinable()) peer->thread.join();
  }
}

void MeshDialer::OnMeshLinkEnded(std::uint8_t link) {
  const std::lock_guard lock(shared_->mutex);
  if (link >= shared_->peers.size()) return;
  shared_->peers[link]->connected = false;
  shared_->changed.notify_all();
}

std::vector<MeshDialer::PeerState> MeshDialer::States() const {
  const std::lock_guard lock(shared_->mutex);
  std::vector<PeerState> states;
  for (const auto& peer : shared_->peers) {
    states.push_back({Authority(peer->peer.host), peer->state});
  }
  return states;
}

}  // namespace ringscale::relayd
