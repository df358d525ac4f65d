// Keeps one link to each of the other relays of the region: dials, logs in as a
// client with the mesh key, hands the connection to the relay, and dials again some
// time after it has ended. One thread a peer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "relay/app/ports.h"
#include "relay/login/client_info.h"
#include "tools/relayd/settings.h"

namespace ringscale::relayd {

class MeshDialer final : public relay::MeshListener {
 public:
  struct Options {
    std::vector<MeshPeer> peers;  // their places are the numbers of the links
    relay::MeshKey mesh_key{};
    const core::PrivateKey* server_key = nullptr;  // ours: who we are to them
    core::Duration retry = core::Seconds(5);
    core::Duration patience = core::Seconds(10);  // for one attempt
  };
  struct PeerState {
    std::string host;
    std::string state;  // "connecting", "connected", "this relay", or what is wrong
  };

  explicit MeshDialer(Options options);
  MeshDialer(const MeshDialer&) = delete;
  MeshDialer& operator=(const MeshDialer&) = delete;
  ~MeshDialer() override;

  // `take` gets every link that is made; it may be called on any of the threads.
  void Start(std::function<void(relay::LoggedInClient)> take);
  // Nobody is dialled any more; waits for attempts under way.
  void Stop();
  void OnMeshLinkEnded(std::uint8_t link) override;
  [[nodiscard]] std::vector<PeerState> States() const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace ringscale::relayd
