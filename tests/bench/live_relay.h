// Relays on loopback for the load generator's tests: the engine, and a thread that
// logs clients in one after another. Without TLS, which is the front's business.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>

#include "bench/lib/relay_target.h"
#include "core/base/fd.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "core/obs/metrics.h"
#include "relay/app/admission_set.h"
#include "relay/app/relay_service.h"
#include "relay/login/server_login.h"

namespace ringscale::tests {

class LiveRelay {
 public:
  LiveRelay();
  ~LiveRelay();
  LiveRelay(const LiveRelay&) = delete;
  LiveRelay& operator=(const LiveRelay&) = delete;

  [[nodiscard]] bench::RelayTarget Target(const std::string& name) const;
  // Each knows from now on who is connected to the other.
  static void Link(LiveRelay& one, LiveRelay& other);

 private:
  void Accept();
  void LogIn(core::Fd client);
  // Makes a link on which this relay forwards to `other`.
  void ForwardTo(LiveRelay& other);

  core::PrivateKey key_ = core::PrivateKey::Generate();
  relay::OpenAdmission everybody_;
  relay::LoginContext context_{.server_key = key_,
                               .server_public = key_.PublicRaw(),
                               .admission = everybody_,
                               .mesh_key = std::nullopt};
  core::MetricsRegistry metrics_;
  std::unique_ptr<relay::RelayService> service_;
  core::Fd listener_;
  core::SocketAddress address_;
  std::uint16_t stun_port_ = 0;
  std::thread thread_;
};

}  // namespace ringscale::tests
