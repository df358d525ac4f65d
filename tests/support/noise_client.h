// A client of the control plane in memory: Noise initiator and HTTP/2 client.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "control/noise/session.h"
#include "core/crypto/keys.h"
#include "tests/support/h2_client.h"

namespace ringscale::testing {

class NoiseH2Client {
 public:
  // `early_payload`: the server sends one before HTTP/2 (not over WebSocket).
  explicit NoiseH2Client(bool early_payload = true, std::uint32_t window = 4 << 20)
      : http(window), early_payload_(early_payload) {}

  void SetSession(control::noise::Session session) { session_.emplace(std::move(session)); }

  // Noise records with what the HTTP/2 client wants to send, in one piece.
  std::string TakeWire() { return Seal(http.TakeOutput()); }
  std::string Seal(std::string_view plaintext) {
    std::string wire;
    const std::array<std::string_view, 1> pieces{plaintext};
    if (!session_->Seal(pieces, wire)) return {};
    return wire;
  }
  // False when it is not Noise or not HTTP/2.
  bool Feed(std::string_view wire) {
    if (!session_->Receive(core::AsBytes(wire), plaintext_)) return false;
    if (early_payload_) {
      if (plaintext_.size() < 9) return true;
      const auto size = core::LoadBe32(core::AsBytes(plaintext_).data() + 5);
      if (!plaintext_.starts_with("\xff\xff\xff"
                                  "TS"))
        return false;
      if (plaintext_.size() < 9 + size) return true;
      early_json = plaintext_.substr(9, size);
      plaintext_.erase(0, 9 + size);
      early_payload_ = false;
    }
    const std::string http_bytes = std::exchange(plaintext_, {});
    return http_bytes.empty() || http.Feed(http_bytes);
  }

  H2Client http;
  std::string early_json;

 private:
  bool early_payload_;
  std::optional<control::noise::Session> session_;
  std::string plaintext_;
};

// A server key and a machine that has done the handshake with it.
struct NoisePair {
  core::PrivateKey server = core::PrivateKey::Generate();
  core::MachinePublic machine_key;
  std::uint16_t version;

  explicit NoisePair(std::uint16_t protocol_version = 145) : version(protocol_version) {}

  // The server's half; the client's goes into `client`.
  control::noise::Accepted Connect(NoiseH2Client& client) {
    auto machine = core::PrivateKey::Generate();
    return Connect(client, std::move(machine));
  }
  control::noise::Accepted Connect(NoiseH2Client& client, core::PrivateKey machine) {
    machine_key = machine.PublicAs<core::MachinePublic>();
    control::noise::Initiator initiator(std::move(machine), server.PublicAs<core::MachinePublic>(),
                                        version);
    auto accepted = control::noise::Respond(server, initiator.initiation());
    client.SetSession(std::move(*initiator.Finish(accepted->response)));
    return std::move(*accepted);
  }
};

}  // namespace ringscale::testing
